// A choice whose condition is known is the branch that is taken.
// RUN: calque opt %s -p 'canonicalize' | filecheck %s

func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {
  %p = calque.constant {value = dense<true> : tensor<i1>, device = "cpu"} : tensor<i1>
  %y = calque.cond %p, %x then {
  ^bb0(%a: tensor<3xf32>):
    %s = calque.sin %a : tensor<3xf32>
    calque.yield %s : tensor<3xf32>
  } else {
  ^bb0(%a: tensor<3xf32>):
    calque.yield %a : tensor<3xf32>
  } : (tensor<i1>, tensor<3xf32>) -> tensor<3xf32>
  func.return %y : tensor<3xf32>
}

// CHECK:       func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {
// CHECK-NEXT:    %{{.*}} = calque.sin %x : tensor<3xf32>
// CHECK-NEXT:    func.return
