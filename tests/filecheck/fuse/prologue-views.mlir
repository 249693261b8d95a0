// An operand that is a view which rows and columns cannot step through is read through it, not
// copied before; a reshape of memory is free. A convolution whose windows overlap little computes
// its input as it reads it.
// RUN: calque opt %s -p 'fuse' | filecheck %s

func.func @main(%x: tensor<4x3x16x8xf32>, %w: tensor<24x40xf32>, %y: tensor<2x24x5x5xf32>, %f: tensor<8x24x3x3xf32>) -> (tensor<64x40xf32>, tensor<2x8x3x3xf32>) {
  %0 = calque.transpose %x {perm = [0, 2, 1, 3]} : (tensor<4x3x16x8xf32>) -> tensor<4x16x3x8xf32>
  %1 = calque.reshape %0 {shape = [64, 24]} : (tensor<4x16x3x8xf32>) -> tensor<64x24xf32>
  %2 = calque.matmul %1, %w : (tensor<64x24xf32>, tensor<24x40xf32>) -> tensor<64x40xf32>
  %3 = calque.relu %y : tensor<2x24x5x5xf32>
  %4 = calque.conv %3, %f {stride = [2, 2], padding = [[1, 1], [1, 1]], dilation = [1, 1], input_dilation = [1, 1], groups = 1} : (tensor<2x24x5x5xf32>, tensor<8x24x3x3xf32>) -> tensor<2x8x3x3xf32>
  func.return %2, %4 : tensor<64x40xf32>, tensor<2x8x3x3xf32>
}

// CHECK:         %matmul = func.call @[[PRODUCT:.*]](%x, %w)
// CHECK-NEXT:    %conv = func.call @[[CONV:.*]](%y, %f)
// CHECK-NEXT:    func.return
// CHECK:       @[[PRODUCT]]({{.*}} attributes {calque.hero = "matmul"
// CHECK-NEXT:    calque.transpose
// CHECK-NEXT:    calque.reshape
// CHECK:       @[[CONV]]({{.*}} attributes {calque.hero = "conv"
// CHECK-NEXT:    calque.relu
