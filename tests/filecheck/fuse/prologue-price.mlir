// A prologue is computed again for every block of the other operand: a function for three blocks of
// columns is not, a relu is. What a kernel before can compute as it stores its result stays there,
// and so does what something else reads too.
// RUN: calque opt %s -p 'fuse' | filecheck %s

func.func @main(%x: tensor<64x48xf32>, %y: tensor<64x48xf32>, %z: tensor<64x48xf32>, %v: tensor<48x48xf32>, %w: tensor<48x768xf32>) -> (tensor<64x768xf32>, tensor<64x768xf32>, tensor<64x768xf32>, tensor<64x768xf32>, tensor<64x48xf32>) {
  %0 = calque.exp %x : tensor<64x48xf32>
  %1 = calque.matmul %0, %w : (tensor<64x48xf32>, tensor<48x768xf32>) -> tensor<64x768xf32>
  %2 = calque.relu %x : tensor<64x48xf32>
  %3 = calque.matmul %2, %w : (tensor<64x48xf32>, tensor<48x768xf32>) -> tensor<64x768xf32>
  %4 = calque.matmul %y, %v : (tensor<64x48xf32>, tensor<48x48xf32>) -> tensor<64x48xf32>
  %5 = calque.neg %4 : tensor<64x48xf32>
  %6 = calque.matmul %5, %w : (tensor<64x48xf32>, tensor<48x768xf32>) -> tensor<64x768xf32>
  %7 = calque.relu %z : tensor<64x48xf32>
  %8 = calque.matmul %7, %w : (tensor<64x48xf32>, tensor<48x768xf32>) -> tensor<64x768xf32>
  func.return %1, %3, %6, %8, %7 : tensor<64x768xf32>, tensor<64x768xf32>, tensor<64x768xf32>, tensor<64x768xf32>, tensor<64x48xf32>
}

// CHECK:         %exp = func.call @k{{.*}}_exp(%x)
// CHECK-NEXT:    %matmul = func.call @[[PLAIN:k[0-9]+_matmul]](%exp, %w)
// CHECK-NEXT:    %matmul_1 = func.call @[[RELU:k[0-9]+_matmul]](%x, %w)
// CHECK-NEXT:    %neg = func.call @{{.*}}_matmul_neg(%y, %v)
// CHECK-NEXT:    %matmul_2 = func.call @[[PLAIN]](%neg, %w)
// CHECK-NEXT:    %relu = func.call @{{.*}}_relu(%z)
// CHECK-NEXT:    %matmul_3 = func.call @[[PLAIN]](%relu, %w)
// CHECK:       @[[RELU]]({{.*}}
// CHECK-NEXT:    calque.relu
