// Infinities and NaN keep their bits in the constants of loops.
// RUN: calque opt %s | filecheck %s
// RUN: calque opt %s | mlir-opt-22 | calque opt - | filecheck %s

func.func @k0(%out: memref<8xf32>) attributes {calque.kernel} {
  %zero = arith.constant 0 : index
  %nan = arith.constant 0x7FC00000 : f32
  %high = arith.constant dense<0x7F800000> : vector<8xf32>
  %low = arith.constant dense<0xFF800000> : vector<8xf32>
  %0 = arith.subf %high, %low : vector<8xf32>
  vector.store %0, %out[%zero] : memref<8xf32>, vector<8xf32>
  memref.store %nan, %out[%zero] : memref<8xf32>
  func.return
}

// CHECK:      arith.constant 0x7fc00000 : f32
// CHECK-NEXT: arith.constant dense<0x7f800000> : vector<8xf32>
// CHECK-NEXT: arith.constant dense<0xff800000> : vector<8xf32>
