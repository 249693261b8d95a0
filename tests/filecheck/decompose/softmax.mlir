// A composite operator becomes the operators it is made of.
// RUN: calque opt %s -p 'decompose' | filecheck %s

func.func @main(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = calque.softmax %x {dim = 1} : tensor<4x8xf32>
  func.return %0 : tensor<4x8xf32>
}

// CHECK-NOT:     calque.softmax
// CHECK:         %[[PEAK:.*]] = calque.amax %x {dims = [1], keepdim = true}
// CHECK:         %[[EXP:.*]] = calque.exp
// CHECK:         %[[SUM:.*]] = calque.sum %[[EXP]] {dims = [1], keepdim = true}
// CHECK:         %[[SHARE:.*]] = calque.div %{{.*}}, %[[SUM]]
// CHECK:         calque.mul %[[EXP]],
