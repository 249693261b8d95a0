// The maxima of small windows are computed in vectors of results, not along the window. Every second
// element of a row comes out of two contiguous vectors.
// RUN: calque opt %s -p 'tile{vector-bits=256 registers=16 threads=1}' | filecheck %s

#x = affine_map<(i, j, k) -> (i, j * 2 + k)>
#w = affine_map<(i, j, k) -> (k)>
#o = affine_map<(i, j, k) -> (i, j)>
func.func private @k0_max_pool(%x: memref<4x32xf32>, %out: memref<4x16xf32>)
    attributes {calque.kernel, calque.hero = "pool"} {
  %tx = bufferization.to_tensor %x restrict : memref<4x32xf32> to tensor<4x32xf32>
  %low = arith.constant 0xFF800000 : f32
  %window = tensor.empty() : tensor<2xf32>
  %e = tensor.empty() : tensor<4x16xf32>
  %z = linalg.fill ins(%low : f32) outs(%e : tensor<4x16xf32>) -> tensor<4x16xf32>
  %p = linalg.generic {indexing_maps = [#x, #w, #o], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%tx, %window : tensor<4x32xf32>, tensor<2xf32>) outs(%z : tensor<4x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.maximumf %acc, %a : f32
    linalg.yield %m : f32
  } -> tensor<4x16xf32>
  bufferization.materialize_in_destination %p in restrict writable %out : (tensor<4x16xf32>, memref<4x16xf32>) -> ()
  func.return
}

// CHECK-NOT:     tile.gather
// CHECK:         %[[A:.*]] = vector.load
// CHECK:         %[[B:.*]] = vector.load
// CHECK:         %[[EVEN:.*]] = vector.shuffle %[[A]], %[[B]] [0, 2, 4, 6, 8, 10, 12, 14, {{.*}}]
// CHECK:         arith.maximumf %{{.*}}, %[[EVEN]]
// CHECK:         vector.store
