// What does not change a value goes away; constants fold, and what only they used with them.
// RUN: calque opt %s -p 'canonicalize' | filecheck %s

func.func @main(%x: tensor<2x3xf32>, %n: tensor<4xi64>) -> (tensor<2x3xf32>, tensor<4xi64>, tensor<2x3xf32>) {
  %one = calque.constant {value = dense<1.000000e+00> : tensor<f32>, device = "cpu"} : tensor<f32>
  %ones = calque.broadcast_to %one {shape = [2, 3]} : (tensor<f32>) -> tensor<2x3xf32>
  %0 = calque.mul %x, %ones : tensor<2x3xf32>
  %1 = calque.transpose %0 {perm = [1, 0]} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %2 = calque.transpose %1 {perm = [1, 0]} : (tensor<3x2xf32>) -> tensor<2x3xf32>
  %zero = calque.constant {value = dense<0> : tensor<i64>, device = "cpu"} : tensor<i64>
  %zeros = calque.broadcast_to %zero {shape = [4]} : (tensor<i64>) -> tensor<4xi64>
  %3 = calque.add %n, %zeros : tensor<4xi64>
  %4 = calque.neg %x : tensor<2x3xf32>
  %5 = calque.neg %4 : tensor<2x3xf32>
  func.return %2, %3, %5 : tensor<2x3xf32>, tensor<4xi64>, tensor<2x3xf32>
}

// CHECK:       func.func @main(%x: tensor<2x3xf32>, %n: tensor<4xi64>)
// CHECK-NEXT:    func.return %x, %n, %x : tensor<2x3xf32>, tensor<4xi64>, tensor<2x3xf32>
