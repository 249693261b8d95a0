// A reshape of memory is free and stays in main; a transpose that is a result is a kernel, and the
// product before it writes in that order. Groups of equal structure are one function.
// RUN: calque opt %s -p 'fuse' | filecheck %s

func.func @main(%x: tensor<4x16xf32>, %w: tensor<16x8xf32>) -> (tensor<8x4xf32>, tensor<64xf32>, tensor<4x4x4xf32>) {
  %0 = calque.matmul %x, %w : (tensor<4x16xf32>, tensor<16x8xf32>) -> tensor<4x8xf32>
  %1 = calque.transpose %0 {perm = [1, 0]} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  %2 = calque.exp %x : tensor<4x16xf32>
  %3 = calque.reshape %2 {shape = [64]} : (tensor<4x16xf32>) -> tensor<64xf32>
  %4 = calque.exp %2 : tensor<4x16xf32>
  %5 = calque.reshape %4 {shape = [4, 4, 4]} : (tensor<4x16xf32>) -> tensor<4x4x4xf32>
  %6 = calque.matmul %4, %w : (tensor<4x16xf32>, tensor<16x8xf32>) -> tensor<4x8xf32>
  func.return %1, %3, %5 : tensor<8x4xf32>, tensor<64xf32>, tensor<4x4x4xf32>
}

// CHECK:         %transpose = func.call @k0_matmul_transpose(%x, %w) : (tensor<4x16xf32>, tensor<16x8xf32>) -> tensor<8x4xf32>
// CHECK-NEXT:    %exp, %exp_1 = func.call @k1_exp(%x) : (tensor<4x16xf32>) -> (tensor<4x16xf32>, tensor<4x16xf32>)
// CHECK-NEXT:    %0 = calque.reshape %exp {shape = [64]} : (tensor<4x16xf32>) -> tensor<64xf32>
// CHECK-NEXT:    %1 = calque.reshape %exp_1 {shape = [4, 4, 4]} : (tensor<4x16xf32>) -> tensor<4x4x4xf32>
// CHECK-NEXT:    func.return %transpose, %0, %1
