// Equal operations become one, and so what is computed from them; attributes and the order of
// operands count.
// RUN: calque opt %s -p 'cse' | filecheck %s

func.func @main(%x: tensor<4x4xf32>, %y: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %a = calque.exp %x : tensor<4x4xf32>
  %b = calque.exp %x : tensor<4x4xf32>
  %c = calque.sub %a, %y : tensor<4x4xf32>
  %d = calque.sub %b, %y : tensor<4x4xf32>
  %e = calque.sub %y, %b : tensor<4x4xf32>
  %f = calque.mul %c, %d : tensor<4x4xf32>
  %g = calque.sum %f {dims = [0], keepdim = false} : (tensor<4x4xf32>) -> tensor<4xf32>
  %h = calque.sum %e {dims = [1], keepdim = false} : (tensor<4x4xf32>) -> tensor<4xf32>
  func.return %f, %g, %h : tensor<4x4xf32>, tensor<4xf32>, tensor<4xf32>
}

// CHECK:         %a = calque.exp %x : tensor<4x4xf32>
// CHECK-NEXT:    %c = calque.sub %a, %y : tensor<4x4xf32>
// CHECK-NEXT:    %e = calque.sub %y, %a : tensor<4x4xf32>
// CHECK-NEXT:    %f = calque.mul %c, %c : tensor<4x4xf32>
// CHECK-NEXT:    %g = calque.sum %f {dims = [0], keepdim = false}
// CHECK-NEXT:    %h = calque.sum %e {dims = [1], keepdim = false}
