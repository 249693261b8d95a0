// The gradients of the first result are appended to the results, by the rule of each operator.
// RUN: calque opt %s -p 'autodiff' | filecheck %s
// RUN: calque opt %s -p 'autodiff{wrt=1}' | filecheck %s --check-prefix SECOND

func.func @main(%x: tensor<3xf32>, %w: tensor<3xf32>, %n: tensor<3xi64>) -> tensor<f32> {
  %0 = calque.mul %x, %w : tensor<3xf32>
  %1 = calque.sum %0 {dims = [0], keepdim = false} : (tensor<3xf32>) -> tensor<f32>
  func.return %1 : tensor<f32>
}

// CHECK:       func.func @main(%x: tensor<3xf32>, %w: tensor<3xf32>, %n: tensor<3xi64>) -> (tensor<f32>, tensor<3xf32>, tensor<3xf32>) {
// CHECK-NEXT:    %0 = calque.mul %x, %w : tensor<3xf32>
// CHECK-NEXT:    %1 = calque.sum %0 {dims = [0], keepdim = false} : (tensor<3xf32>) -> tensor<f32>
// CHECK-NEXT:    %[[ONE:.*]] = calque.constant {value = dense<1.000000e+00> : tensor<f32>, device = "cpu"} : tensor<f32>
// CHECK:         %[[G:.*]] = calque.broadcast_to
// CHECK-NEXT:    %[[GX:.*]] = calque.mul %[[G]], %w : tensor<3xf32>
// CHECK-NEXT:    %[[GW:.*]] = calque.mul %[[G]], %x : tensor<3xf32>
// CHECK-NEXT:    func.return %1, %[[GX]], %[[GW]] : tensor<f32>, tensor<3xf32>, tensor<3xf32>

// SECOND:         func.func @main({{.*}}) -> (tensor<f32>, tensor<3xf32>) {
// SECOND:           %[[GW:.*]] = calque.mul %{{.*}}, %x : tensor<3xf32>
// SECOND-NEXT:      func.return %1, %[[GW]] : tensor<f32>, tensor<3xf32>
