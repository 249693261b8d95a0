// A reduction takes what feeds it into its body; kept dimensions are a reshape.
// RUN: calque opt %s -p 'lower-to-linalg' | filecheck %s
// RUN: calque opt %s -p 'lower-to-linalg' | mlir-opt-22

func.func @main(%x: tensor<8x64xf32>) -> tensor<8x1xf32> {
  %0 = calque.mul %x, %x : tensor<8x64xf32>
  %1 = calque.sum %0 {dims = [1], keepdim = true} : (tensor<8x64xf32>) -> tensor<8x1xf32>
  func.return %1 : tensor<8x1xf32>
}

// CHECK:         %0 = arith.constant 0.000000e+00 : f32
// CHECK-NEXT:    %1 = tensor.empty() : tensor<8xf32>
// CHECK-NEXT:    %2 = linalg.fill ins(%0 : f32) outs(%1 : tensor<8xf32>) -> tensor<8xf32>
// CHECK-NEXT:    %3 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<8x64xf32>) outs(%2 : tensor<8xf32>) {
// CHECK-NEXT:    ^bb0(%4: f32, %5: f32):
// CHECK-NEXT:      %6 = arith.mulf %4, %4 : f32
// CHECK-NEXT:      %7 = arith.addf %5, %6 : f32
// CHECK-NEXT:      linalg.yield %7 : f32
// CHECK-NEXT:    } -> tensor<8xf32>
// CHECK-NEXT:    %8 = tensor.expand_shape %3 {{\[\[}}0 : i64, 1 : i64]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
// CHECK-NEXT:    func.return %8 : tensor<8x1xf32>
