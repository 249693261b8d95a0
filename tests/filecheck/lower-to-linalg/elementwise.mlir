// Operators of one iteration space become one linalg.generic; broadcasts are indexing maps.
// RUN: calque opt %s -p 'lower-to-linalg' | filecheck %s
// RUN: calque opt %s -p 'lower-to-linalg' | mlir-opt-22

func.func @main(%x: tensor<?x64xf32, #calque.t<[B, 64]>>, %b: tensor<64xf32>)
    -> tensor<?x64xf32, #calque.t<[B, 64]>> {
  %0 = calque.broadcast_to %b {shape = [B, 64]} : (tensor<64xf32>) -> tensor<?x64xf32, #calque.t<[B, 64]>>
  %1 = calque.add %x, %0 : tensor<?x64xf32, #calque.t<[B, 64]>>
  %2 = calque.exp %1 : tensor<?x64xf32, #calque.t<[B, 64]>>
  func.return %2 : tensor<?x64xf32, #calque.t<[B, 64]>>
}

// CHECK:       func.func @main(%x: tensor<?x64xf32> {calque.dims = ["B", 64 : i64]}, %b: tensor<64xf32>) -> (tensor<?x64xf32> {calque.dims = ["B", 64 : i64]}) {
// CHECK-NEXT:    %c0 = arith.constant 0 : index
// CHECK-NEXT:    %B = tensor.dim {calque.symbol = "B"} %x, %c0 : tensor<?x64xf32>
// CHECK-NEXT:    %0 = tensor.empty(%B) : tensor<?x64xf32>
// CHECK-NEXT:    %1 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%x, %b : tensor<?x64xf32>, tensor<64xf32>) outs(%0 : tensor<?x64xf32>) {
// CHECK-NEXT:    ^bb0(%2: f32, %3: f32, %4: f32):
// CHECK-NEXT:      %5 = arith.addf %2, %3 : f32
// CHECK-NEXT:      %6 = math.exp %5 : f32
// CHECK-NEXT:      linalg.yield %6 : f32
// CHECK-NEXT:    } -> tensor<?x64xf32>
// CHECK-NEXT:    func.return %1 : tensor<?x64xf32>
