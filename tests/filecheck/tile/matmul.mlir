// Rows are balanced among register tiles; a transposed B is copied into panels; what follows the
// product is computed on vectors of it. The columns of a task are an option.
// RUN: calque opt %s -p 'tile{vector-bits=512 registers=32 threads=2}' | filecheck %s
// RUN: calque opt %s -p 'tile{vector-bits=512 registers=32 threads=1 columns=32}' | filecheck %s --check-prefix=NARROW

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#bias = affine_map<(m, n) -> (n)>
func.func private @k0_matmul_add(
    %x: memref<20x100xf32>, %w: memref<96x100xf32>, %v: memref<96xf32>, %out: memref<20x96xf32>)
    attributes {calque.kernel, calque.hero = "matmul"} {
  %tx = bufferization.to_tensor %x restrict : memref<20x100xf32> to tensor<20x100xf32>
  %tw = bufferization.to_tensor %w restrict : memref<96x100xf32> to tensor<96x100xf32>
  %tv = bufferization.to_tensor %v restrict : memref<96xf32> to tensor<96xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<20x96xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<20x96xf32>) -> tensor<20x96xf32>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%tx, %tw : tensor<20x100xf32>, tensor<96x100xf32>) outs(%z : tensor<20x96xf32>) {
  ^bb0(%l: f32, %r: f32, %acc: f32):
    %m = arith.mulf %l, %r : f32
    %s = arith.addf %acc, %m : f32
    linalg.yield %s : f32
  } -> tensor<20x96xf32>
  %q = linalg.generic {indexing_maps = [#id, #bias, #id], iterator_types = ["parallel", "parallel"]}
      ins(%p, %tv : tensor<20x96xf32>, tensor<96xf32>) outs(%e : tensor<20x96xf32>) {
  ^bb0(%l: f32, %r: f32, %o: f32):
    %s = arith.addf %l, %r : f32
    linalg.yield %s : f32
  } -> tensor<20x96xf32>
  bufferization.materialize_in_destination %q in restrict writable %out : (tensor<20x96xf32>, memref<20x96xf32>) -> ()
  func.return
}

// CHECK:         scf.parallel
// CHECK:           %[[PANELS:.*]] = memref.alloca() : memref<320x32xf32>
// CHECK:           vector.shuffle
// CHECK:           vector.store %{{.*}}, %[[PANELS]]
// CHECK:           tile.matmul %x[%{{.*}}, %{{.*}}], %[[PANELS]][%{{.*}}, %{{.*}}], %out[%{{.*}}, %{{.*}}], k=%{{.*}}, n=%{{.*}}, acc=%{{.*}} {mr = 10 : i64, nr = 32 : i64, masked = false, prefetch = 64 : i64, ahead} epilogue {
// CHECK-NEXT:      ^bb0(%[[ROW:.*]]: index, %[[COLUMN:.*]]: index, %[[SUM:.*]]: vector<16xf32>):
// CHECK-NEXT:        %[[BIAS:.*]] = vector.load %v[%[[COLUMN]]] : memref<96xf32>, vector<16xf32>
// CHECK-NEXT:        %[[Y:.*]] = arith.addf %[[SUM]], %[[BIAS]] : vector<16xf32>
// CHECK-NEXT:        tile.yield %[[Y]] : vector<16xf32>

// NARROW:          memref.alloca() : memref<192x32xf32>
