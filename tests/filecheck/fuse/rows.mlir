// Softmax is one group: two reductions of rows, and what uses their values along the rows.
// RUN: calque opt %s -p 'fuse' | filecheck %s
// RUN: calque opt %s -p 'fuse{rows=false}' | filecheck %s --check-prefix APART

func.func @main(%x: tensor<?x64xf32, #calque.t<[B, 64]>>) -> tensor<?x64xf32, #calque.t<[B, 64]>> {
  %0 = calque.amax %x {dims = [1], keepdim = true} : (tensor<?x64xf32, #calque.t<[B, 64]>>) -> tensor<?x1xf32, #calque.t<[B, 1]>>
  %1 = calque.broadcast_to %0 {shape = [B, 64]} : (tensor<?x1xf32, #calque.t<[B, 1]>>) -> tensor<?x64xf32, #calque.t<[B, 64]>>
  %2 = calque.sub %x, %1 : tensor<?x64xf32, #calque.t<[B, 64]>>
  %3 = calque.exp %2 : tensor<?x64xf32, #calque.t<[B, 64]>>
  %4 = calque.sum %3 {dims = [1], keepdim = true} : (tensor<?x64xf32, #calque.t<[B, 64]>>) -> tensor<?x1xf32, #calque.t<[B, 1]>>
  %5 = calque.broadcast_to %4 {shape = [B, 64]} : (tensor<?x1xf32, #calque.t<[B, 1]>>) -> tensor<?x64xf32, #calque.t<[B, 64]>>
  %6 = calque.div %3, %5 : tensor<?x64xf32, #calque.t<[B, 64]>>
  func.return %6 : tensor<?x64xf32, #calque.t<[B, 64]>>
}

// CHECK:         %div = func.call @k0_amax_sub_exp(%x)
// CHECK-NEXT:    func.return %div
// CHECK:       func.func private @k0_amax_sub_exp({{.*}} attributes {calque.hero = "rowwise"

// APART:         %amax = func.call @k0_amax(%x)
// APART-NEXT:    %exp, %sum = func.call @k1_sub_exp_sum(%amax, %x)
// APART-NEXT:    %div = func.call @k2_div(%sum, %exp)
