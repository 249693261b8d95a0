// An A whose columns are contiguous is copied for a group of register tiles together, in vectors
// along its columns. Tasks share the rows evenly once their number is known.
// RUN: calque opt %s -p 'tile{vector-bits=512 registers=32 threads=2}' | filecheck %s

#a = affine_map<(m, n, k) -> (k, m)>
#b = affine_map<(m, n, k) -> (k, n)>
#c = affine_map<(m, n, k) -> (m, n)>
func.func private @k0_matmul(
    %x: memref<200x?xf32>, %w: memref<200x512xf32>, %out: memref<?x512xf32>, %rows: index)
    attributes {calque.kernel, calque.hero = "matmul"} {
  %tx = bufferization.to_tensor %x restrict : memref<200x?xf32> to tensor<200x?xf32>
  %tw = bufferization.to_tensor %w restrict : memref<200x512xf32> to tensor<200x512xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty(%rows) : tensor<?x512xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x512xf32>) -> tensor<?x512xf32>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%tx, %tw : tensor<200x?xf32>, tensor<200x512xf32>) outs(%z : tensor<?x512xf32>) {
  ^bb0(%l: f32, %r: f32, %acc: f32):
    %m = arith.mulf %l, %r : f32
    %s = arith.addf %acc, %m : f32
    linalg.yield %s : f32
  } -> tensor<?x512xf32>
  bufferization.materialize_in_destination %p in restrict writable %out : (tensor<?x512xf32>, memref<?x512xf32>) -> ()
  func.return
}

// CHECK:         %[[SHARE:.*]] = arith.floordivsi
// CHECK-NEXT:    %[[EACH:.*]] = arith.addi %{{.*}}, %[[SHARE]]
// CHECK-NEXT:    %[[STEP:.*]] = arith.maxsi %[[EACH]]
// CHECK:         scf.parallel (%{{.*}}, %[[FIRST:.*]]) = ({{.*}}) to (%{{.*}}, %rows) step (%{{.*}}, %[[STEP]])
// CHECK:           %[[B:.*]] = memref.alloca() : memref<{{[0-9]+}}x32xf32>
// CHECK:           vector.load %w
// CHECK:           vector.store %{{.*}}, %[[B]]
// CHECK:           scf.for %[[GROUP:.*]] = %[[FIRST]] to
// CHECK:             %[[A:.*]] = memref.alloca() : memref<224x[[WIDE:[0-9]+]]xf32>
// CHECK:             vector.maskedload %x[
// CHECK:             vector.store %{{.*}}, %[[A]][
// CHECK:             %[[ROWS:.*]] = memref.reinterpret_cast %[[A]] to offset: [0], sizes: [{{[0-9]+}}, 224], strides: [1, [[WIDE]]]
// CHECK:             scf.for %[[ROW:.*]] = %[[GROUP]] to
// CHECK:               tile.matmul %[[ROWS]][%{{.*}}, %{{.*}}], %[[B]][%{{.*}}, %{{.*}}], %out[%[[ROW]], %{{.*}}]
