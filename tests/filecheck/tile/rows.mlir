// What belongs to a row is computed before the loop over its columns.
// RUN: calque opt %s -p 'tile{vector-bits=512}' | filecheck %s

#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
func.func private @k0_normalize(%x: memref<8x128xf32>, %out: memref<8x128xf32>)
    attributes {calque.kernel, calque.hero = "rowwise"} {
  %a = bufferization.to_tensor %x restrict : memref<8x128xf32> to tensor<8x128xf32>
  %zero = arith.constant 0.0 : f32
  %n = tensor.empty() : tensor<8xf32>
  %z = linalg.fill ins(%zero : f32) outs(%n : tensor<8xf32>) -> tensor<8xf32>
  %total = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a : tensor<8x128xf32>) outs(%z : tensor<8xf32>) {
  ^bb0(%p: f32, %acc: f32):
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<8xf32>
  %e = tensor.empty() : tensor<8x128xf32>
  %r = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
      ins(%a, %total : tensor<8x128xf32>, tensor<8xf32>) outs(%e : tensor<8x128xf32>) {
  ^bb0(%p: f32, %t: f32, %o: f32):
    %s = arith.divf %p, %t : f32
    linalg.yield %s : f32
  } -> tensor<8x128xf32>
  bufferization.materialize_in_destination %r in restrict writable %out : (tensor<8x128xf32>, memref<8x128xf32>) -> ()
  func.return
}

// CHECK:         scf.parallel (%[[I:.*]]) = (%{{.*}}) to (%{{.*}}) step (%{{.*}}) {
// CHECK-NEXT:      %[[V:.*]] = scf.for %[[J:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[ACC:.*]] = %{{.*}}) -> (vector<64xf32>) {
// CHECK-NEXT:        %[[P:.*]] = vector.load %x[%[[I]], %[[J]]] : memref<8x128xf32>, vector<64xf32>
// CHECK-NEXT:        %[[S:.*]] = arith.addf %[[ACC]], %[[P]] : vector<64xf32>
// CHECK-NEXT:        scf.yield %[[S]]
// CHECK:           %[[EVEN:.*]] = vector.shuffle %[[V]], %[[V]] [0, 1,
// CHECK-NEXT:      %[[ODD:.*]] = vector.shuffle %[[V]], %[[V]] [16, 17,
// CHECK-NEXT:      %[[BOTH:.*]] = arith.addf %[[EVEN]], %[[ODD]] : vector<32xf32>
// CHECK-NEXT:      %[[T:.*]] = vector.reduction <add>, %[[BOTH]] : vector<32xf32> into f32
// CHECK-NEXT:      %[[WIDE:.*]] = vector.broadcast %[[T]] : f32 to vector<64xf32>
// CHECK-NEXT:      scf.for
// CHECK:             arith.divf %{{.*}}, %[[WIDE]] : vector<64xf32>
// CHECK-NEXT:        vector.store
