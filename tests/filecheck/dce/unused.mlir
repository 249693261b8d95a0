// What nothing uses goes away, with what only it used; regions are swept too.
// RUN: calque opt %s -p 'dce' | filecheck %s

func.func @main(%x: tensor<3xf32>, %p: tensor<i1>) -> tensor<3xf32> {
  %0 = calque.exp %x : tensor<3xf32>
  %1 = calque.add %0, %x : tensor<3xf32>
  %2 = calque.sin %x : tensor<3xf32>
  %3 = calque.cond %p, %2 then {
  ^bb0(%a: tensor<3xf32>):
    %s = calque.cos %a : tensor<3xf32>
    %t = calque.tan %a : tensor<3xf32>
    calque.yield %s : tensor<3xf32>
  } else {
  ^bb0(%a: tensor<3xf32>):
    calque.yield %a : tensor<3xf32>
  } : (tensor<i1>, tensor<3xf32>) -> tensor<3xf32>
  func.return %3 : tensor<3xf32>
}

// CHECK:       func.func @main(%x: tensor<3xf32>, %p: tensor<i1>) -> tensor<3xf32> {
// CHECK-NEXT:    %0 = calque.sin %x : tensor<3xf32>
// CHECK-NEXT:    %1 = calque.cond %p, %0 then {
// CHECK-NEXT:    ^bb{{.*}}(%a: tensor<3xf32>):
// CHECK-NEXT:      %s = calque.cos %a : tensor<3xf32>
// CHECK-NEXT:      calque.yield %s : tensor<3xf32>
// CHECK-NOT:     calque.tan
