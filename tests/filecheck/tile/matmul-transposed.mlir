// With few rows it is cheaper to read the columns of a transposed B in place, as rows, and to
// transpose the result: the factors change places, and only the few rows are copied into panels.
// What follows the product is computed on vectors along the rows of the changed product.
// RUN: calque opt %s -p 'tile{vector-bits=512 registers=32 threads=2}' | filecheck %s

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#bias = affine_map<(m, n) -> (n)>
func.func private @k0_matmul_add(
    %x: memref<30x400xf32>, %w: memref<960x400xf32>, %v: memref<960xf32>, %out: memref<30x960xf32>)
    attributes {calque.kernel, calque.hero = "matmul"} {
  %tx = bufferization.to_tensor %x restrict : memref<30x400xf32> to tensor<30x400xf32>
  %tw = bufferization.to_tensor %w restrict : memref<960x400xf32> to tensor<960x400xf32>
  %tv = bufferization.to_tensor %v restrict : memref<960xf32> to tensor<960xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<30x960xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<30x960xf32>) -> tensor<30x960xf32>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%tx, %tw : tensor<30x400xf32>, tensor<960x400xf32>) outs(%z : tensor<30x960xf32>) {
  ^bb0(%l: f32, %r: f32, %acc: f32):
    %m = arith.mulf %l, %r : f32
    %s = arith.addf %acc, %m : f32
    linalg.yield %s : f32
  } -> tensor<30x960xf32>
  %q = linalg.generic {indexing_maps = [#id, #bias, #id], iterator_types = ["parallel", "parallel"]}
      ins(%p, %tv : tensor<30x960xf32>, tensor<960xf32>) outs(%e : tensor<30x960xf32>) {
  ^bb0(%l: f32, %r: f32, %o: f32):
    %s = arith.addf %l, %r : f32
    linalg.yield %s : f32
  } -> tensor<30x960xf32>
  bufferization.materialize_in_destination %q in restrict writable %out : (tensor<30x960xf32>, memref<30x960xf32>) -> ()
  func.return
}

// CHECK:         scf.parallel (%[[FIRST:.*]]) =
// CHECK:           %[[C:.*]] = memref.reinterpret_cast %out to offset: [0], sizes: [960, 30], strides: [1, 960]
// CHECK:           tile.matmul %w[%{{.*}}, %{{.*}}], %{{.*}}[%{{.*}}, %{{.*}}], %[[C]][%{{.*}}, %{{.*}}], k=%{{.*}}, n=%{{.*}}, acc=%{{.*}} {mr = 14 : i64, nr = 32 : i64, masked = true, prefetch = 64 : i64, padded, ahead, transposed} epilogue {
// CHECK-NEXT:      ^bb0(%[[ROW:.*]]: index, %{{.*}}: index, %[[SUM:.*]]: vector<16xf32>):
// CHECK-NEXT:        %[[LEFT:.*]] = arith.subi %{{.*}}, %[[ROW]] : index
// CHECK-NEXT:        %[[MASK:.*]] = vector.create_mask %[[LEFT]] : vector<16xi1>
// CHECK-NEXT:        vector.maskedload %v[%[[ROW]]], %[[MASK]]
// CHECK:           tile.matmul {{.*}} {mr = 13 : i64
