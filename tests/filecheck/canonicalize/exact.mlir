// A rewrite that could change a value does not happen: x + 0.0 turns -0.0 into 0.0, and constants
// do not go through NumPy's transcendentals, which differ from ours.
// RUN: calque opt %s -p 'canonicalize' | filecheck %s

func.func @main(%x: tensor<3xf32>) -> (tensor<3xf32>, tensor<f32>) {
  %zero = calque.constant {value = dense<0.000000e+00> : tensor<f32>, device = "cpu"} : tensor<f32>
  %zeros = calque.broadcast_to %zero {shape = [3]} : (tensor<f32>) -> tensor<3xf32>
  %0 = calque.add %x, %zeros : tensor<3xf32>
  %two = calque.constant {value = dense<2.000000e+00> : tensor<f32>, device = "cpu"} : tensor<f32>
  %1 = calque.exp %two : tensor<f32>
  func.return %0, %1 : tensor<3xf32>, tensor<f32>
}

// CHECK:         calque.add %x,
// CHECK:         calque.exp %two : tensor<f32>
