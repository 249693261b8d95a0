// A gate: what the product before cannot compute, since it is read in parts, the product after it
// computes. Tensors that are joined or padded are read where they are.
// RUN: calque opt %s -p 'fuse' | filecheck %s

func.func @main(%x: tensor<64x48xf32>, %v: tensor<48x96xf32>, %w: tensor<48x32xf32>, %u: tensor<112x32xf32>, %i: tensor<2x4x8x8xf32>, %f: tensor<8x4x3x3xf32>) -> (tensor<64x32xf32>, tensor<64x32xf32>, tensor<2x8x4x4xf32>) {
  %0 = calque.matmul %x, %v : (tensor<64x48xf32>, tensor<48x96xf32>) -> tensor<64x96xf32>
  %1 = calque.slice %0 {starts = [0, 0], limits = [64, 48], strides = [1, 1]} : (tensor<64x96xf32>) -> tensor<64x48xf32>
  %2 = calque.slice %0 {starts = [0, 48], limits = [64, 96], strides = [1, 1]} : (tensor<64x96xf32>) -> tensor<64x48xf32>
  %3 = calque.relu %1 : tensor<64x48xf32>
  %4 = calque.mul %3, %2 : tensor<64x48xf32>
  %5 = calque.matmul %4, %w : (tensor<64x48xf32>, tensor<48x32xf32>) -> tensor<64x32xf32>
  %6 = calque.matmul %x, %w : (tensor<64x48xf32>, tensor<48x32xf32>) -> tensor<64x32xf32>
  %7 = calque.concatenate %6, %x, %6 {dim = 1} : (tensor<64x32xf32>, tensor<64x48xf32>, tensor<64x32xf32>) -> tensor<64x112xf32>
  %8 = calque.matmul %7, %u : (tensor<64x112xf32>, tensor<112x32xf32>) -> tensor<64x32xf32>
  %z = calque.constant {value = dense<0.0> : tensor<f32>, device = "cpu"} : tensor<f32>
  %9 = calque.pad %i, %z {low = [0, 0, 1, 1], high = [0, 0, 1, 1], interior = [0, 0, 0, 0]} : (tensor<2x4x8x8xf32>, tensor<f32>) -> tensor<2x4x10x10xf32>
  %10 = calque.conv %9, %f {stride = [2, 2], padding = [[0, 0], [0, 0]], dilation = [1, 1], input_dilation = [1, 1], groups = 1} : (tensor<2x4x10x10xf32>, tensor<8x4x3x3xf32>) -> tensor<2x8x4x4xf32>
  func.return %5, %8, %10 : tensor<64x32xf32>, tensor<64x32xf32>, tensor<2x8x4x4xf32>
}

// CHECK:         %[[WHOLE:.*]] = func.call @{{k[0-9]+_matmul}}(%x, %v)
// CHECK-NEXT:    %[[GATED:.*]] = func.call @[[GATE:k[0-9]+_matmul]](%[[WHOLE]], %w)
// CHECK-NEXT:    %[[LEFT:.*]] = func.call @{{k[0-9]+_matmul}}(%x, %w)
// CHECK-NEXT:    %[[JOINED:.*]] = func.call @[[JOIN:k[0-9]+_matmul]](%[[LEFT]], %x, %u)
// CHECK-NEXT:    %conv = func.call @{{k[0-9]+_conv}}(%i, %f)
// CHECK-NEXT:    func.return %[[GATED]], %[[JOINED]], %conv
// CHECK:       @[[GATE]]
// CHECK:         calque.relu
// CHECK:         calque.matmul
// CHECK:       @[[JOIN]]
// CHECK-NEXT:    calque.concatenate
// CHECK-NEXT:    calque.matmul
