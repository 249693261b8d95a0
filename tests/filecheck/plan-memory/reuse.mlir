// Buffers that live at different times share memory; sizes are expressions. A kernel that allows it
// writes over an operand that nobody reads later.
// RUN: calque opt %s -p 'plan-memory' | filecheck %s
// RUN: calque opt %s -p 'plan-memory' | mlir-opt-22

func.func @main(%x: memref<?x64xf32>, %y: memref<?x64xf32> {calque.role = "output", calque.dims = ["B", 64]}, %arena: memref<?xi8>, %B: index {calque.symbol = "B"}) {
  %a = memref.alloc(%B) : memref<?x64xf32>
  func.call @f(%x, %a) : (memref<?x64xf32>, memref<?x64xf32>) -> ()
  %b = memref.alloc(%B) : memref<?x64xf32>
  func.call @f(%a, %b) : (memref<?x64xf32>, memref<?x64xf32>) -> ()
  %c = memref.alloc(%B) : memref<?x64xf32>
  func.call @g(%b, %c) : (memref<?x64xf32>, memref<?x64xf32>) -> ()
  %d = memref.alloc() : memref<3xf32>
  func.call @h(%c, %d) : (memref<?x64xf32>, memref<3xf32>) -> ()
  func.call @k(%d, %y) : (memref<3xf32>, memref<?x64xf32>) -> ()
  func.return
}

func.func private @f(%x: memref<?x64xf32>, %y: memref<?x64xf32>) attributes {calque.kernel, calque.results = 1} { func.return }
func.func private @g(%x: memref<?x64xf32> {calque.inplace = [0]}, %y: memref<?x64xf32>) attributes {calque.kernel, calque.results = 1} { func.return }
func.func private @h(%x: memref<?x64xf32>, %y: memref<3xf32>) attributes {calque.kernel, calque.results = 1} { func.return }
func.func private @k(%x: memref<3xf32>, %y: memref<?x64xf32>) attributes {calque.kernel, calque.results = 1} { func.return }

// CHECK:       calque.plan = ["a: offset 0, 256*B bytes, calls 0..1", "b, c: offset 256*B, 256*B bytes, calls 1..3", "d: offset 512*B, 64 bytes, calls 3..4"]
// CHECK:         %a = memref.view %arena[%c0][%B] : memref<?xi8> to memref<?x64xf32>
// CHECK:         %b = memref.view %arena[%0][%B] : memref<?xi8> to memref<?x64xf32>
// CHECK:         %c = memref.view %arena[%0][%B] : memref<?xi8> to memref<?x64xf32>
// CHECK:         %d = memref.view %arena[%1][] : memref<?xi8> to memref<3xf32>
// CHECK:       func.func @main.plan(%B: index) -> (index, index) attributes {calque.plan} {
// CHECK:         func.return %{{.*}}, %B : index, index
