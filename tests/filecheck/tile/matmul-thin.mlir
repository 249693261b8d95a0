// A vector times a transposed matrix: square blocks of the matrix are transposed in registers and
// used at once, nothing is copied. Sums of more than 768 products start again every 512.
// RUN: calque opt %s -p 'tile{vector-bits=256 registers=16 threads=2}' | filecheck %s

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
func.func private @k0_matmul(%x: memref<1x1024xf32>, %w: memref<96x1024xf32>, %out: memref<1x96xf32>)
    attributes {calque.kernel, calque.hero = "matmul"} {
  %tx = bufferization.to_tensor %x restrict : memref<1x1024xf32> to tensor<1x1024xf32>
  %tw = bufferization.to_tensor %w restrict : memref<96x1024xf32> to tensor<96x1024xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x96xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<1x96xf32>) -> tensor<1x96xf32>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%tx, %tw : tensor<1x1024xf32>, tensor<96x1024xf32>) outs(%z : tensor<1x96xf32>) {
  ^bb0(%l: f32, %r: f32, %acc: f32):
    %m = arith.mulf %l, %r : f32
    %s = arith.addf %acc, %m : f32
    linalg.yield %s : f32
  } -> tensor<1x96xf32>
  bufferization.materialize_in_destination %p in restrict writable %out : (tensor<1x96xf32>, memref<1x96xf32>) -> ()
  func.return
}

// CHECK-NOT:     memref.alloca
// CHECK:         scf.parallel (%[[N:.*]]) =
// CHECK:           %[[SUM:.*]] = scf.for %[[START:.*]] = %{{.*}} iter_args(%[[OLD:.*]] = %{{.*}}) -> (vector<8xf32>) {
// CHECK:             %[[NEW:.*]] = scf.for %[[K:.*]] = %[[START]] to %{{.*}} iter_args(%[[ACC:.*]] = %{{.*}}) -> (vector<8xf32>) {
// CHECK:               vector.load %w[%[[N]], %[[K]]]
// CHECK:               vector.shuffle
// CHECK:               memref.load %x[
// CHECK:               math.fma %{{.*}}, %{{.*}}, %[[ACC]]
// CHECK:             arith.addf %[[NEW]], %[[OLD]]
// CHECK:           vector.store %[[SUM]], %out
