// No gradient flows through a detach; an argument without a gradient gets zeros.
// RUN: calque opt %s -p 'autodiff,canonicalize' | filecheck %s

func.func @main(%x: tensor<f32>, %y: tensor<f32>) -> tensor<f32> {
  %0 = calque.detach %x : tensor<f32>
  %1 = calque.mul %0, %x : tensor<f32>
  func.return %1 : tensor<f32>
}

// CHECK:         %[[D:.*]] = calque.detach %x : tensor<f32>
// CHECK:         %[[ZERO:.*]] = calque.constant {value = dense<0.000000e+00> : tensor<f32>, device = "cpu"} : tensor<f32>
// CHECK:         func.return %{{.*}}, %[[D]], %[[ZERO]] : tensor<f32>, tensor<f32>, tensor<f32>
