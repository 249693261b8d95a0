// A result too large for the caches is written around them; what its rows need twice waits in
// scratch; the next row is asked for when a row is read for the second time.
// RUN: calque opt %s -p 'tile{vector-bits=512 registers=32 threads=2}' | filecheck %s

#row = affine_map<(i, j) -> (i, j)>
#one = affine_map<(i, j) -> (i)>
func.func private @k0_exp_sum_div(%x: memref<8192x1024xf32>, %out: memref<8192x1024xf32>)
    attributes {calque.kernel, calque.hero = "rowwise"} {
  %t = bufferization.to_tensor %x restrict : memref<8192x1024xf32> to tensor<8192x1024xf32>
  %zero = arith.constant 0.0 : f32
  %r = tensor.empty() : tensor<8192xf32>
  %z = linalg.fill ins(%zero : f32) outs(%r : tensor<8192xf32>) -> tensor<8192xf32>
  %mean = linalg.generic {indexing_maps = [#row, #one], iterator_types = ["parallel", "reduction"]}
      ins(%t : tensor<8192x1024xf32>) outs(%z : tensor<8192xf32>) {
  ^bb0(%a: f32, %acc: f32):
    %s = arith.addf %acc, %a : f32
    linalg.yield %s : f32
  } -> tensor<8192xf32>
  %e = tensor.empty() : tensor<8192x1024xf32>
  %exp = linalg.generic {indexing_maps = [#row, #one, #row], iterator_types = ["parallel", "parallel"]}
      ins(%t, %mean : tensor<8192x1024xf32>, tensor<8192xf32>) outs(%e : tensor<8192x1024xf32>) {
  ^bb0(%a: f32, %m: f32, %o: f32):
    %d = arith.subf %a, %m : f32
    %y = math.exp %d : f32
    linalg.yield %y : f32
  } -> tensor<8192x1024xf32>
  %sum = linalg.generic {indexing_maps = [#row, #one], iterator_types = ["parallel", "reduction"]}
      ins(%exp : tensor<8192x1024xf32>) outs(%z : tensor<8192xf32>) {
  ^bb0(%a: f32, %acc: f32):
    %s = arith.addf %acc, %a : f32
    linalg.yield %s : f32
  } -> tensor<8192xf32>
  %q = linalg.generic {indexing_maps = [#row, #one, #row], iterator_types = ["parallel", "parallel"]}
      ins(%exp, %sum : tensor<8192x1024xf32>, tensor<8192xf32>) outs(%e : tensor<8192x1024xf32>) {
  ^bb0(%a: f32, %s: f32, %o: f32):
    %y = arith.mulf %a, %s : f32
    linalg.yield %y : f32
  } -> tensor<8192x1024xf32>
  bufferization.materialize_in_destination %q in restrict writable %out : (tensor<8192x1024xf32>, memref<8192x1024xf32>) -> ()
  func.return
}

// CHECK:       scf.parallel (%[[I:.*]]) =
// CHECK-NEXT:    %[[ROW:.*]] = memref.alloca() : memref<1024xf32>
// CHECK:         vector.load %x[%[[I]], %{{.*}}]
// CHECK:         scf.for
// CHECK:           tile.prefetch %x[%{{.*}}, %{{.*}}]
// CHECK:           vector.load %x[%[[I]], %[[J:.*]]]
// CHECK:           %[[EXP:.*]] = math.exp
// CHECK-NEXT:      vector.store %[[EXP]], %[[ROW]][%[[J]]]
// CHECK:         scf.for
// CHECK-NEXT:      vector.load %[[ROW]]
// CHECK-NEXT:      arith.mulf
// CHECK-NEXT:      vector.store %{{.*}}, %out[%[[I]], %{{.*}}] {nontemporal = true}
