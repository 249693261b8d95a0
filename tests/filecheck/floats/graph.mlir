// Infinities and NaN of every float keep their bits through text and passes.
// RUN: calque opt %s -p 'canonicalize,cse' | filecheck %s
// RUN: calque opt %s -p 'canonicalize,cse' | calque opt - | filecheck %s

func.func @main(%x: tensor<3xf32>) -> (tensor<3xf32>, tensor<f16>, tensor<bf16>, tensor<f64>, tensor<3xf32>) {
  %low = calque.constant {value = dense<0xFF800000> : tensor<f32>, device = "cpu"} : tensor<f32>
  %again = calque.constant {value = dense<0xff800000> : tensor<f32>, device = "cpu"} : tensor<f32>
  %wide = calque.broadcast_to %low {shape = [3]} : (tensor<f32>) -> tensor<3xf32>
  %wide2 = calque.broadcast_to %again {shape = [3]} : (tensor<f32>) -> tensor<3xf32>
  %0 = calque.maximum %x, %wide : tensor<3xf32>
  %1 = calque.minimum %0, %wide2 : tensor<3xf32>
  %2 = calque.constant {value = dense<0x7E00> : tensor<f16>, device = "cpu"} : tensor<f16>
  %3 = calque.constant {value = dense<0x7F80> : tensor<bf16>, device = "cpu"} : tensor<bf16>
  %4 = calque.constant {value = dense<0xFFF0000000000000> : tensor<f64>, device = "cpu"} : tensor<f64>
  %5 = calque.constant {value = dense<[0x7FC00000, 1.5, 0x4CEB79A3]> : tensor<3xf32>, device = "cpu"} : tensor<3xf32>
  func.return %1, %2, %3, %4, %5 : tensor<3xf32>, tensor<f16>, tensor<bf16>, tensor<f64>, tensor<3xf32>
}

// CHECK:      func.func @main
// CHECK:        %[[LOW:.*]] = calque.constant {value = dense<0xff800000> : tensor<f32>
// CHECK-NEXT:   %[[WIDE:.*]] = calque.broadcast_to %[[LOW]]
// CHECK-NEXT:   %[[MAX:.*]] = calque.maximum %{{.*}}, %[[WIDE]]
// CHECK-NEXT:   calque.minimum %[[MAX]], %[[WIDE]]
// CHECK-NEXT:   calque.constant {value = dense<0x7e00> : tensor<f16>
// CHECK-NEXT:   calque.constant {value = dense<0x7f80> : tensor<bf16>
// CHECK-NEXT:   calque.constant {value = dense<0xfff0000000000000> : tensor<f64>
// CHECK-NEXT:   calque.constant {value = dense<[0x7fc00000, 1.500000e+00, 0x4CEB79A3]> : tensor<3xf32>
