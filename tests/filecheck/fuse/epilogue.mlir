// A product takes in the bias, the activation and the residual; the transpose of an operand is a
// way to read it. Cheap work on what is in memory anyway is done there too, though it comes first.
// RUN: calque opt %s -p 'fuse' | filecheck %s
// RUN: calque opt %s -p 'fuse{epilogue=false}' | filecheck %s --check-prefix APART

func.func @main(%x: tensor<4x16xf32>, %w: tensor<8x16xf32>, %b: tensor<8xf32>, %r: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %h = calque.neg %r : tensor<4x8xf32>
  %0 = calque.transpose %w {perm = [1, 0]} : (tensor<8x16xf32>) -> tensor<16x8xf32>
  %1 = calque.matmul %x, %0 : (tensor<4x16xf32>, tensor<16x8xf32>) -> tensor<4x8xf32>
  %2 = calque.broadcast_to %b {shape = [4, 8]} : (tensor<8xf32>) -> tensor<4x8xf32>
  %3 = calque.add %1, %2 : tensor<4x8xf32>
  %4 = calque.relu %3 : tensor<4x8xf32>
  %5 = calque.add %4, %h : tensor<4x8xf32>
  func.return %5 : tensor<4x8xf32>
}

// CHECK:         %add = func.call @k0_neg_matmul_add(%r, %w, %x, %b) : (tensor<4x8xf32>, tensor<8x16xf32>, tensor<4x16xf32>, tensor<8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:    func.return %add
// CHECK:       @k0_neg_matmul_add({{.*}} attributes {calque.hero = "matmul"

// APART:         func.call @k0_matmul
// APART:         func.call @k1_neg_add_relu
