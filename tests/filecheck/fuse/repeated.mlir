// A cheap value that two kernels read and that is made of one tensor in memory is computed in both:
// it is not written to memory for the second.
// RUN: calque opt %s -p 'fuse' | filecheck %s

func.func @main(%x: tensor<8x64xf32>, %b: tensor<64xf32>) -> (tensor<64xf32>, tensor<8x64xf32>) {
  %0 = calque.broadcast_to %b {shape = [8, 64]} : (tensor<64xf32>) -> tensor<8x64xf32>
  %1 = calque.sub %x, %0 : tensor<8x64xf32>
  %2 = calque.sum %1 {dims = [0], keepdim = false} : (tensor<8x64xf32>) -> tensor<64xf32>
  %3 = calque.broadcast_to %2 {shape = [8, 64]} : (tensor<64xf32>) -> tensor<8x64xf32>
  %4 = calque.mul %1, %3 : tensor<8x64xf32>
  func.return %2, %4 : tensor<64xf32>, tensor<8x64xf32>
}

// CHECK:         %sum = func.call @k0_sum(%b, %x) : (tensor<64xf32>, tensor<8x64xf32>) -> tensor<64xf32>
// CHECK-NEXT:    %mul = func.call @k1_mul(%b, %x, %sum) : (tensor<64xf32>, tensor<8x64xf32>, tensor<64xf32>) -> tensor<8x64xf32>
// CHECK:       func.func private @k1_mul
// CHECK:         calque.sub
// CHECK:         calque.mul
