; An operation on tensors whose looks are known: from operands to results. It continues entry.ll.

; How far an operand reaches into memory from its first element, and what an element takes, in bytes.
%operand = type { i64, i64 }

; The address of an operand, whose memory is held; false where Python has to look.
define internal i1 @operand(ptr %x, ptr %this, ptr %place, ptr %held, ptr %pointer) {
entry:
  %tensor = call i1 @is(ptr %x, ptr @tensor)
  %parameter = call i1 @is(ptr %x, ptr @parameter)
  %known = or i1 %tensor, %parameter
  br i1 %known, label %look, label %no
look:
  %offset = call ptr @slot(ptr %x, ptr @tensor_offset)
  %unset = icmp eq ptr %offset, null
  br i1 %unset, label %no, label %where
where:
  %has = call i1 @memory(ptr %x, ptr %place, ptr %held, ptr %pointer)
  br i1 %has, label %measure, label %no
measure:
  ; Another thread may have given the tensor other memory since it was looked at.
  %buffer = load ptr, ptr %held
  %size = call ptr @slot(ptr %buffer, ptr @buffer_nbytes)
  %bytes = call i64 @PyLong_AsSsize_t(ptr %size)
  %elements = call i64 @PyLong_AsSsize_t(ptr %offset)
  %reach = load i64, ptr %this
  %width_at = getelementptr %operand, ptr %this, i64 0, i32 1
  %width = load i64, ptr %width_at
  %skipped = mul i64 %elements, %width
  %end = add i64 %skipped, %reach
  %inside = icmp sle i64 %end, %bytes
  %behind = icmp sge i64 %elements, 0
  %fits = and i1 %inside, %behind
  br i1 %fits, label %move, label %no
move:
  %base = load ptr, ptr %pointer
  %address = getelementptr i8, ptr %base, i64 %skipped
  store ptr %address, ptr %pointer
  ret i1 true
no:
  ret i1 false
}

define internal i1 @operands(ptr %record, ptr %given, i64 %count, ptr %frame) {
entry:
  %wanted = load i64, ptr %record
  %all_at = getelementptr %record, ptr %record, i64 0, i32 5
  %all = load ptr, ptr %all_at
  %pointers = load ptr, ptr %frame
  %memory_at = getelementptr %frame, ptr %frame, i64 0, i32 2
  %memory = load ptr, ptr %memory_at
  %held_at = getelementptr %frame, ptr %frame, i64 0, i32 3
  %holds = load ptr, ptr %held_at
  %right = icmp eq i64 %count, %wanted
  br i1 %right, label %each, label %no
each:
  %i = phi i64 [0, %entry], [%next, %look]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %done
look:
  %at = getelementptr ptr, ptr %given, i64 %i
  %x = load ptr, ptr %at
  %this = getelementptr %operand, ptr %all, i64 %i
  %place = getelementptr ptr, ptr %memory, i64 %i
  %held = getelementptr ptr, ptr %holds, i64 %i
  %pointer = getelementptr ptr, ptr %pointers, i64 %i
  %fits = call i1 @operand(ptr %x, ptr %this, ptr %place, ptr %held, ptr %pointer)
  %next = add i64 %i, 1
  br i1 %fits, label %each, label %no
no:
  ret i1 false
done:
  ret i1 true
}

; operate(*operands): None where Python has to look; a status other than 0 as an int; else the list
; of results. `self` is a tuple like that of `py_call`.
define ptr @py_operate(ptr %self, ptr %given, i64 %count) {
  %out = call ptr @perform(ptr %self, ptr %given, i64 %count)
  ret ptr %out
}
