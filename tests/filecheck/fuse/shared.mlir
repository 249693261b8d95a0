// Groups of equal structure are one function, called twice.
// RUN: calque opt %s -p 'fuse' | filecheck %s

func.func @main(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = calque.matmul %x, %w : tensor<4x4xf32>
  %1 = calque.exp %0 : tensor<4x4xf32>
  %2 = calque.matmul %1, %w : tensor<4x4xf32>
  %3 = calque.exp %2 : tensor<4x4xf32>
  func.return %3 : tensor<4x4xf32>
}

// CHECK:         %exp = func.call @k0_matmul_exp(%x, %w)
// CHECK-NEXT:    %exp_1 = func.call @k0_matmul_exp(%exp, %w)
// CHECK-NEXT:    func.return %exp_1
// CHECK:       @k0_matmul_exp
// CHECK-NOT:   func.func
