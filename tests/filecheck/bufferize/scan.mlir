// What a loop carries has one buffer, here an output's; a stack is filled in place.
// RUN: calque opt %s -p 'fuse,lower-to-linalg,bufferize' | filecheck %s
// RUN: calque opt %s -p 'fuse,lower-to-linalg,bufferize' | mlir-opt-22

func.func @main(%h: tensor<3xf32>, %xs: tensor<?x3xf32, #calque.t<[T, 3]>>) -> (tensor<3xf32>, tensor<?x3xf32, #calque.t<[T, 3]>>) {
  %last, %all = calque.scan %h, %xs {carries = 1, xs = 1, length = T, reverse = false} body {
  ^bb0(%c: tensor<3xf32>, %x: tensor<3xf32>):
    %n = calque.add %c, %x : tensor<3xf32>
    calque.yield %n, %n : tensor<3xf32>, tensor<3xf32>
  } : (tensor<3xf32>, tensor<?x3xf32, #calque.t<[T, 3]>>) -> (tensor<3xf32>, tensor<?x3xf32, #calque.t<[T, 3]>>)
  func.return %last, %all : tensor<3xf32>, tensor<?x3xf32, #calque.t<[T, 3]>>
}

// CHECK:       func.func @main(
// CHECK:         "memref.copy"(%h, %out0)
// CHECK-NEXT:    scf.for %0 = %c0 to %T step %c1 {
// CHECK-NEXT:      %1 = memref.subview %xs[%0, 0] [1, 3] [1, 1] : memref<?x3xf32> to memref<1x3xf32, strided<[3, 1], offset: ?>>
// CHECK-NEXT:      %2 = memref.alloc() : memref<1x3xf32>
// CHECK-NEXT:      "memref.copy"(%1, %2)
// CHECK-NEXT:      %3 = memref.collapse_shape %2
// CHECK-NEXT:      %n = memref.alloc() : memref<3xf32>
// CHECK-NEXT:      func.call @k0_add(%out0, %3, %n)
// CHECK-NEXT:      %4 = memref.expand_shape %n
// CHECK-NEXT:      %5 = memref.subview %out1[%0, 0] [1, 3] [1, 1]
// CHECK-NEXT:      "memref.copy"(%4, %5)
// CHECK-NEXT:      "memref.copy"(%n, %out0)
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
