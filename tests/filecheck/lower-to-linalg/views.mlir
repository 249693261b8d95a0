// Transposes and broadcasts are indexing maps, slices are views of memory, and a loop whose length
// no operand tells gets an operand that does. An index that a slice picked is a constant of the body.
// RUN: calque opt %s -p 'lower-to-linalg' | filecheck %s
// RUN: calque opt %s -p 'lower-to-linalg' | mlir-opt-22

func.func @main(%x: tensor<8x4xf32>, %y: tensor<8xf32>) -> (tensor<2x8xf32>, tensor<8xf32>) {
  %0 = calque.transpose %x {perm = [1, 0]} : (tensor<8x4xf32>) -> tensor<4x8xf32>
  %1 = calque.slice %0 {starts = [1, 0], limits = [4, 8], strides = [2, 1]} : (tensor<4x8xf32>) -> tensor<2x8xf32>
  %2 = calque.exp %1 : tensor<2x8xf32>
  %3 = calque.broadcast_to %y {shape = [5, 8]} : (tensor<8xf32>) -> tensor<5x8xf32>
  %4 = calque.sum %3 {dims = [0], keepdim = false} : (tensor<5x8xf32>) -> tensor<8xf32>
  func.return %2, %4 : tensor<2x8xf32>, tensor<8xf32>
}

// CHECK:         linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d1)>, affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d1)>], iterator_types = ["reduction", "parallel"]} ins(%y, %{{.*}} : tensor<8xf32>, tensor<5xi1>)
// CHECK:         %[[S:.*]] = tensor.extract_slice %x[0, 1] [8, 2] [1, 2] : tensor<8x4xf32> to tensor<8x2xf32>
// CHECK:         linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d1, d0)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%[[S]] : tensor<8x2xf32>)

func.func @picked(%x: tensor<8xi64>) -> tensor<8xi64> {
  %0 = calque.iota {size = 5, dtype = int64, device = "cpu"} : tensor<5xi64>
  %1 = calque.slice %0 {starts = [3], limits = [4], strides = [1]} : (tensor<5xi64>) -> tensor<1xi64>
  %2 = calque.broadcast_to %1 {shape = [8]} : (tensor<1xi64>) -> tensor<8xi64>
  %3 = calque.add %x, %2 : tensor<8xi64>
  func.return %3 : tensor<8xi64>
}

// CHECK-LABEL: @picked
// CHECK:         ^{{.*}}(%[[E:.*]]: i64, %{{.*}}: i64):
// CHECK-NEXT:      %[[C:.*]] = arith.constant 3 : index
// CHECK-NEXT:      %[[I:.*]] = arith.index_cast %[[C]] : index to i64
// CHECK-NEXT:      arith.addi %[[E]], %[[I]] : i64
