// Contiguous dimensions become one loop of vectors, in pieces that can run in parallel.
// RUN: calque opt %s -p 'tile{vector-bits=512 chunk=256}' | filecheck %s

#id = affine_map<(i, j) -> (i, j)>
func.func private @k0_mul(%x: memref<?x4xf32>, %y: memref<?x4xf32>, %out: memref<?x4xf32>, %B: index)
    attributes {calque.kernel, calque.hero = "elementwise"} {
  %a = bufferization.to_tensor %x restrict : memref<?x4xf32> to tensor<?x4xf32>
  %b = bufferization.to_tensor %y restrict : memref<?x4xf32> to tensor<?x4xf32>
  %e = tensor.empty(%B) : tensor<?x4xf32>
  %r = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%a, %b : tensor<?x4xf32>, tensor<?x4xf32>) outs(%e : tensor<?x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.mulf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<?x4xf32>
  bufferization.materialize_in_destination %r in restrict writable %out : (tensor<?x4xf32>, memref<?x4xf32>) -> ()
  func.return
}

// CHECK:         %[[OUT:.*]] = memref.collapse_shape %out
// CHECK-NEXT:    %[[X:.*]] = memref.collapse_shape %x
// CHECK-NEXT:    %[[Y:.*]] = memref.collapse_shape %y
// CHECK:         scf.parallel (%{{.*}}) = (%{{.*}}) to (%{{.*}}) step (%{{.*}}) {
// CHECK:         scf.for %[[I:.*]] = %{{.*}} to %[[MAIN:.*]] step
// CHECK-NEXT:      %[[P:.*]] = vector.load %[[X]][%[[I]]] : memref<?xf32>, vector<64xf32>
// CHECK-NEXT:      %[[Q:.*]] = vector.load %[[Y]][%[[I]]] : memref<?xf32>, vector<64xf32>
// CHECK-NEXT:      %[[S:.*]] = arith.mulf %[[P]], %[[Q]] : vector<64xf32>
// CHECK-NEXT:      vector.store %[[S]], %[[OUT]][%[[I]]] : memref<?xf32>, vector<64xf32>
// CHECK:         scf.if
// CHECK:           %[[MASK:.*]] = vector.create_mask
// CHECK-NEXT:      vector.maskedload %[[X]][%[[MAIN]]], %[[MASK]]
// CHECK:           vector.maskedstore %[[OUT]][%[[MAIN]]], %[[MASK]]
