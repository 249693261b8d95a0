// A chain becomes one group; what others read of it is a result; constants are computed in it.
// RUN: calque opt %s -p 'fuse' | filecheck %s
// RUN: calque opt %s -p 'fuse{elementwise=false}' | filecheck %s --check-prefix APART

func.func @main(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %c = calque.constant {value = dense<2.0> : tensor<f32>, device = "cpu"} : tensor<f32>
  %two = calque.broadcast_to %c {shape = [8]} : (tensor<f32>) -> tensor<8xf32>
  %0 = calque.mul %x, %two : tensor<8xf32>
  %1 = calque.exp %0 : tensor<8xf32>
  %2 = calque.add %1, %0 : tensor<8xf32>
  func.return %1, %2 : tensor<8xf32>, tensor<8xf32>
}

// CHECK:       func.func @main(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
// CHECK-NEXT:    %exp, %add = func.call @k0_mul_exp_add(%x) : (tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
// CHECK-NEXT:    func.return %exp, %add : tensor<8xf32>, tensor<8xf32>
// CHECK:       func.func private @k0_mul_exp_add(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) attributes {calque.hero = "elementwise", calque.source = ["constant", "broadcast_to", "mul", "exp", "add"]} {
// CHECK-NEXT:    %c = calque.constant {value = dense<2.000000e+00> : tensor<f32>, device = "cpu"} : tensor<f32>
// CHECK-NEXT:    %two = calque.broadcast_to %c {shape = [8]} : (tensor<f32>) -> tensor<8xf32>
// CHECK-NEXT:    %0 = calque.mul %x, %two : tensor<8xf32>
// CHECK-NEXT:    %1 = calque.exp %0 : tensor<8xf32>
// CHECK-NEXT:    %2 = calque.add %1, %0 : tensor<8xf32>
// CHECK-NEXT:    func.return %1, %2 : tensor<8xf32>, tensor<8xf32>

// APART:         %mul = func.call @k0_mul(%x)
// APART-NEXT:    %exp = func.call @k1_exp(%mul)
// APART-NEXT:    %add = func.call @k2_add(%exp, %mul)
