// A scan is a loop of main around the calls of its body; sequences and stacks go by slices.
// RUN: calque opt %s -p 'fuse,lower-to-linalg' | filecheck %s
// RUN: calque opt %s -p 'fuse,lower-to-linalg' | mlir-opt-22

func.func @main(%h: tensor<3xf32>, %xs: tensor<?x3xf32, #calque.t<[T, 3]>>) -> (tensor<3xf32>, tensor<?x3xf32, #calque.t<[T, 3]>>) {
  %last, %all = calque.scan %h, %xs {carries = 1, xs = 1, length = T, reverse = false} body {
  ^bb0(%c: tensor<3xf32>, %x: tensor<3xf32>):
    %n = calque.add %c, %x : tensor<3xf32>
    calque.yield %n, %n : tensor<3xf32>, tensor<3xf32>
  } : (tensor<3xf32>, tensor<?x3xf32, #calque.t<[T, 3]>>) -> (tensor<3xf32>, tensor<?x3xf32, #calque.t<[T, 3]>>)
  func.return %last, %all : tensor<3xf32>, tensor<?x3xf32, #calque.t<[T, 3]>>
}

// CHECK:       func.func @main(
// CHECK:         %0 = tensor.empty(%T) : tensor<?x3xf32>
// CHECK:         %last, %all = scf.for %1 = %c0_1 to %T step %c1 iter_args(%2 = %h, %3 = %0) -> (tensor<3xf32>, tensor<?x3xf32>) {
// CHECK-NEXT:      %4 = tensor.extract_slice %xs[%1, 0] [1, 3] [1, 1] : tensor<?x3xf32> to tensor<1x3xf32>
// CHECK-NEXT:      %5 = tensor.collapse_shape %4 [[0 : i64, 1 : i64]] : tensor<1x3xf32> into tensor<3xf32>
// CHECK-NEXT:      %n = func.call @k0_add(%2, %5) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
// CHECK-NEXT:      %6 = tensor.expand_shape %n {{.*}} : tensor<3xf32> into tensor<1x3xf32>
// CHECK-NEXT:      %7 = tensor.insert_slice %6 into %3[%1, 0] [1, 3] [1, 1] : tensor<1x3xf32> into tensor<?x3xf32>
// CHECK-NEXT:      scf.yield %n, %7 : tensor<3xf32>, tensor<?x3xf32>
// CHECK-NEXT:    } {calque.dims = {{\[\[}}3 : i64], ["T", 3 : i64]]}
// CHECK-NEXT:    func.return %last, %all : tensor<3xf32>, tensor<?x3xf32>
