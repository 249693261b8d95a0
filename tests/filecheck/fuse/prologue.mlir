// A product computes its operands as it reads them where that pays: what leads from memory to an
// operand, and nothing else reads, is computed in the product's kernel.
// RUN: calque opt %s -p 'fuse' | filecheck %s
// RUN: calque opt %s -p 'fuse{prologue=false}' | filecheck %s --check-prefix APART

func.func @main(%x: tensor<64x48xf32>, %q: tensor<100x48xi8>, %s: tensor<100x1xf32>) -> tensor<64x100xf32> {
  %h = calque.relu %x : tensor<64x48xf32>
  %0 = calque.cast %q {dtype = float32} : (tensor<100x48xi8>) -> tensor<100x48xf32>
  %1 = calque.broadcast_to %s {shape = [100, 48]} : (tensor<100x1xf32>) -> tensor<100x48xf32>
  %2 = calque.mul %0, %1 : tensor<100x48xf32>
  %3 = calque.transpose %2 {perm = [1, 0]} : (tensor<100x48xf32>) -> tensor<48x100xf32>
  %4 = calque.matmul %h, %3 : (tensor<64x48xf32>, tensor<48x100xf32>) -> tensor<64x100xf32>
  %5 = calque.exp %4 : tensor<64x100xf32>
  func.return %5 : tensor<64x100xf32>
}

// CHECK:         %exp = func.call @k0_matmul_exp(%x, %q, %s)
// CHECK-NEXT:    func.return %exp
// CHECK:       @k0_matmul_exp({{.*}} attributes {calque.hero = "matmul"
// CHECK:         calque.relu
// CHECK:         calque.cast
// CHECK:         calque.matmul

// APART:         func.call @k0_relu
// APART-NEXT:    %mul = func.call @k1_cast_mul
// APART-NEXT:    %exp = func.call @k2_matmul_exp
