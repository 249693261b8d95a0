// Iterations are put together until a task is worth its hand-over; short loops stay as they are.
// RUN: calque opt %s -p 'parallelize{threads=2 vector-bits=512}' | filecheck %s

func.func private @k0_rows(%x: memref<4096x64xf32>, %out: memref<4096x64xf32>)
    attributes {calque.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  scf.parallel (%i) = (%c0) to (%c4096) step (%c1) {
    %v = vector.load %x[%i, %c0] : memref<4096x64xf32>, vector<64xf32>
    vector.store %v, %out[%i, %c0] : memref<4096x64xf32>, vector<64xf32>
    scf.reduce
  }
  func.return
}

// CHECK:       func.func private @k0_rows
// CHECK:         %[[GRAIN:.*]] = arith.constant 625 : index
// CHECK-NEXT:    scf.parallel (%[[FIRST:.*]]) = (%c0) to (%c4096) step (%[[GRAIN]]) {
// CHECK-NEXT:      %[[NEXT:.*]] = arith.addi %[[FIRST]], %[[GRAIN]] : index
// CHECK-NEXT:      %[[STOP:.*]] = arith.minsi %[[NEXT]], %c4096 : index
// CHECK-NEXT:      scf.for %[[I:.*]] = %[[FIRST]] to %[[STOP]] step %c1 {
// CHECK-NEXT:        vector.load %x[%[[I]], %c0]
// CHECK:         } {calque.map = "threads"}

func.func private @k1_few(%x: memref<16x64xf32>, %out: memref<16x64xf32>)
    attributes {calque.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  scf.parallel (%i) = (%c0) to (%c16) step (%c1) {
    %v = vector.load %x[%i, %c0] : memref<16x64xf32>, vector<64xf32>
    vector.store %v, %out[%i, %c0] : memref<16x64xf32>, vector<64xf32>
    scf.reduce
  }
  func.return
}

// CHECK:       func.func private @k1_few
// CHECK-NOT:     calque.map
