// Of an operation with a derivative of its own, what it computes remains; differentiation is over.
// RUN: calque opt %s -p 'decompose' | filecheck %s
// RUN: calque opt %s -p 'autodiff,decompose,dce' | filecheck %s --check-prefix GRAD

func.func @main(%x: tensor<f32>) -> tensor<f32> {
  %y, %kept = calque.custom %x {outputs = 1, through = [0], wrt = [0], once = false} forward {
  ^bb0(%a: tensor<f32>):
    %r = calque.relu %a : tensor<f32>
    calque.yield %r, %a : tensor<f32>, tensor<f32>
  } backward {
  ^bb0(%g: tensor<f32>, %a: tensor<f32>):
    %d = calque.sin %a : tensor<f32>
    %e = calque.mul %g, %d : tensor<f32>
    calque.yield %e : tensor<f32>
  } : (tensor<f32>) -> (tensor<f32>, tensor<f32>)
  func.return %y : tensor<f32>
}

// CHECK:       func.func @main(%x: tensor<f32>) -> tensor<f32> {
// CHECK-NEXT:    %[[R:.*]] = calque.relu %x : tensor<f32>
// CHECK-NEXT:    func.return %[[R]] : tensor<f32>

// GRAD:          %[[R:.*]] = calque.relu %x : tensor<f32>
// GRAD:          %[[D:.*]] = calque.sin %x : tensor<f32>
// GRAD-NEXT:     %[[E:.*]] = calque.mul %{{.*}}, %[[D]] : tensor<f32>
// GRAD-NEXT:     func.return %[[R]], %[[E]] : tensor<f32>, tensor<f32>
