// Results of calls are computed in the memory of the outputs; bools are stored as bytes.
// RUN: calque opt %s -p 'bufferize' | filecheck %s
// RUN: calque opt %s -p 'bufferize' | mlir-opt-22

func.func @main(%x: tensor<?x4xf32> {calque.name = "x"}) -> (tensor<?x4xi1> {calque.name = "y"}) {
  %c0 = arith.constant 0 : index
  %B = tensor.dim {calque.symbol = "B"} %x, %c0 : tensor<?x4xf32>
  %0 = func.call @k0_gt(%x, %B) : (tensor<?x4xf32>, index) -> tensor<?x4xi1>
  func.return %0 : tensor<?x4xi1>
}

func.func private @k0_gt(%x: tensor<?x4xf32>, %B: index {calque.symbol = "B"})
    -> (tensor<?x4xi1> {calque.dims = ["x_0", 4]}) attributes {calque.hero = "elementwise"} {
  %e = tensor.empty(%B) : tensor<?x4xi1>
  %r = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x4xi1>) {
  ^bb0(%a: f32, %o: i1):
    %z = arith.constant 0.0 : f32
    %g = arith.cmpf ogt, %a, %z : f32
    linalg.yield %g : i1
  } -> tensor<?x4xi1>
  func.return %r : tensor<?x4xi1>
}

// CHECK:       func.func @main(%x: memref<?x4xf32> {calque.name = "x", calque.dims = ["x_0", 4 : i64]}, %y_out: memref<?x4xi8> {calque.name = "y", calque.dtype = "bool", calque.dims = ["x_0", 4 : i64], calque.role = "output"}, %arena: memref<?xi8>, %x_1: index {calque.symbol = "x_0"}) {
// CHECK-NEXT:    func.call @k0_gt(%x, %y_out, %x_1) : (memref<?x4xf32>, memref<?x4xi8>, index) -> ()
// CHECK-NEXT:    func.return
// CHECK:       func.func private @k0_gt(%x: memref<?x4xf32>, %out: memref<?x4xi8>, %B: index {calque.symbol = "B"}) attributes {calque.hero = "elementwise", calque.kernel, calque.results = 1 : i64} {
// CHECK-NEXT:    %x_1 = bufferization.to_tensor %x restrict : memref<?x4xf32> to tensor<?x4xf32>
// CHECK-NEXT:    %e = tensor.empty(%B) : tensor<?x4xi8>
// CHECK:         ^bb0(%a: f32, %o: i8):
// CHECK-NEXT:      %z = arith.constant 0.000000e+00 : f32
// CHECK-NEXT:      %g = arith.cmpf ogt, %a, %z : f32
// CHECK-NEXT:      %0 = arith.extui %g : i1 to i8
// CHECK-NEXT:      linalg.yield %0 : i8
// CHECK:         bufferization.materialize_in_destination %{{.*}} in restrict writable %{{.*}} : (tensor<?x4xi8>, memref<?x4xi8>) -> ()
// CHECK-NEXT:    func.return
