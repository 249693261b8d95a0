// The driver runs xDSL's passes beside calque's.
// RUN: calque opt %s -p 'dce' | filecheck %s

func.func @keeps_what_is_used(%x: i32) -> i32 {
  %unused = arith.muli %x, %x : i32
  %used = arith.addi %x, %x : i32
  func.return %used : i32
}

// CHECK:       func.func @keeps_what_is_used(%x: i32) -> i32 {
// CHECK-NEXT:    %used = arith.addi %x, %x : i32
// CHECK-NEXT:    func.return %used : i32
