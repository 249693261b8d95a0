// State is overwritten in place, after everything that can fail and everything that reads it.
// RUN: calque opt %s -p 'bufferize,plan-memory' | filecheck %s
// RUN: calque opt %s -p 'bufferize,plan-memory' | mlir-opt-22

func.func @main(%p: tensor<8xf32> {calque.name = "p", calque.role = "state"}, %g: tensor<8xf32>)
    -> (tensor<8xf32> {calque.name = "p", calque.role = "state", calque.alias = 0 : i64}, tensor<8xf32>) {
  %0 = func.call @step(%p, %g) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %1 = func.call @may_fail(%p) : (tensor<8xf32>) -> tensor<8xf32>
  func.return %0, %1 : tensor<8xf32>, tensor<8xf32>
}

func.func private @step(%p: tensor<8xf32>, %g: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]} ins(%p, %g : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.subf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<8xf32>
  func.return %r : tensor<8xf32>
}

func.func private @may_fail(%p: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]} ins(%p : tensor<8xf32>) outs(%e : tensor<8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %ok = arith.cmpf oeq, %a, %a : f32
    cf.assert %ok, "not a number"
    linalg.yield %a : f32
  } -> tensor<8xf32>
  func.return %r : tensor<8xf32>
}

// CHECK:       func.func @main(%p: memref<8xf32> {calque.name = "p", calque.role = "state"}, %g: memref<8xf32>, %p_out: memref<8xf32> {calque.name = "p", calque.role = "output", calque.alias = 0 : i64}, %out1: memref<8xf32> {calque.role = "output"}, %arena: memref<?xi8>)
// CHECK-NEXT:    func.call @may_fail(%p, %out1) : (memref<8xf32>, memref<8xf32>) -> ()
// CHECK-NEXT:    func.call @step(%p, %g, %p_out) : (memref<8xf32>, memref<8xf32>, memref<8xf32>) -> ()
// CHECK-NEXT:    func.return
// CHECK:       func.func @main.plan() -> index attributes {calque.plan} {
