// Tensors are joined, and padded, where the result is read, and cheap operators before that are
// computed there: a rotary embedding is one kernel. Many tensors are joined in memory.
// RUN: calque opt %s -p 'fuse' | filecheck %s

func.func @main(%x: tensor<8x64xf32>, %c: tensor<8x64xf32>, %s: tensor<8x64xf32>, %y: tensor<8x16xf32>) -> (tensor<8x64xf32>, tensor<8x80xf32>) {
  %a = calque.slice %x {starts = [0, 0], limits = [8, 32], strides = [1, 1]} : (tensor<8x64xf32>) -> tensor<8x32xf32>
  %b = calque.slice %x {starts = [0, 32], limits = [8, 64], strides = [1, 1]} : (tensor<8x64xf32>) -> tensor<8x32xf32>
  %0 = calque.neg %b : tensor<8x32xf32>
  %1 = calque.concatenate %0, %a {dim = 1} : (tensor<8x32xf32>, tensor<8x32xf32>) -> tensor<8x64xf32>
  %2 = calque.mul %1, %s : tensor<8x64xf32>
  %3 = calque.mul %x, %c : tensor<8x64xf32>
  %4 = calque.add %3, %2 : tensor<8x64xf32>
  %5 = calque.concatenate %y, %y, %y, %y, %y {dim = 1} : (tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x80xf32>
  %6 = calque.relu %5 : tensor<8x80xf32>
  func.return %4, %6 : tensor<8x64xf32>, tensor<8x80xf32>
}

// CHECK:         %add = func.call @k0_neg_concatenate_mul(%x, %s, %c)
// CHECK-NEXT:    %concatenate = func.call @k1_concatenate(%y)
// CHECK-NEXT:    %relu = func.call @k2_relu(%concatenate)
// CHECK-NEXT:    func.return %add, %relu
