; The native entry: a call of a compiled function from the tuple of its arguments to its results.
; It continues recognize.ll.

declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyErr_NoMemory()
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare ptr @PyLong_FromSsize_t(i64)
declare void @PyMem_RawFree(ptr)                ; accepts null
declare ptr @PyMem_RawMalloc(i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; ---- running ------------------------------------------------------------------------------------

; Makes the results; false with an exception.
define internal i1 @results(ptr %record, ptr %frame) {
entry:
  %inputs_at = getelementptr %record, ptr %record, i64 0, i32 1
  %inputs = load i64, ptr %inputs_at
  %count_at = getelementptr %record, ptr %record, i64 0, i32 2
  %count = load i64, ptr %count_at
  %all_at = getelementptr %record, ptr %record, i64 0, i32 7
  %all = load ptr, ptr %all_at
  %pointers = load ptr, ptr %frame
  %made_at = getelementptr %frame, ptr %frame, i64 0, i32 4
  %made = load ptr, ptr %made_at
  br label %each
each:
  %k = phi i64 [0, %entry], [%next, %keep]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %look, label %done
look:
  %this = getelementptr %result, ptr %all, i64 %k
  %meta = load ptr, ptr %this
  %i = add i64 %inputs, %k
  %pointer = getelementptr ptr, ptr %pointers, i64 %i
  %written = icmp eq ptr %meta, null
  br i1 %written, label %same, label %make
same:
  %index_at = getelementptr %result, ptr %this, i64 0, i32 4
  %index = load i64, ptr %index_at
  %from = getelementptr ptr, ptr %pointers, i64 %index
  %address = load ptr, ptr %from
  store ptr %address, ptr %pointer
  %none = load ptr, ptr @none
  call void @Py_IncRef(ptr %none)
  br label %keep
make:
  %strides_at = getelementptr %result, ptr %this, i64 0, i32 1
  %strides = load ptr, ptr %strides_at
  %nbytes_at = getelementptr %result, ptr %this, i64 0, i32 2
  %nbytes = load ptr, ptr %nbytes_at
  %blocks_at = getelementptr %result, ptr %this, i64 0, i32 3
  %blocks = load ptr, ptr %blocks_at
  %tensor = call ptr @make_tensor(ptr %meta, ptr %strides, ptr %nbytes, ptr %blocks, ptr %pointer)
  %failed = icmp eq ptr %tensor, null
  br i1 %failed, label %error, label %keep
keep:
  %object = phi ptr [%none, %same], [%tensor, %make]
  %to = getelementptr ptr, ptr %made, i64 %k
  store ptr %object, ptr %to
  %next = add i64 %k, 1
  br label %each
error:
  ret i1 false
done:
  ret i1 true
}

; A buffer of at least so many bytes, the one given back last if it is large enough; null with an
; exception.
define internal ptr @lease_arena(i64 %bytes) alwaysinline {
entry:
  %arenas = load ptr, ptr @arenas
  %buffer = call ptr @take(ptr %arenas)
  %none = icmp eq ptr %buffer, null
  br i1 %none, label %ask, label %measure
measure:
  %has = call ptr @slot(ptr %buffer, ptr @buffer_nbytes)
  %size = call i64 @PyLong_AsSsize_t(ptr %has)
  %enough = icmp sge i64 %size, %bytes
  br i1 %enough, label %done, label %drop
drop:
  call void @Py_DecRef(ptr %buffer)
  br label %ask
ask:
  %python = load ptr, ptr @lease
  %number = call ptr @PyLong_FromSsize_t(i64 %bytes)
  %failed = icmp eq ptr %number, null
  br i1 %failed, label %error, label %call
call:
  %made = call ptr @PyObject_CallOneArg(ptr %python, ptr %number)
  call void @Py_DecRef(ptr %number)
  ret ptr %made
done:
  ret ptr %buffer
error:
  ret ptr null
}

; Runs the program without the interpreter lock, which takes 50 ns at each call and so is not made
; dependent on how long it may take; false with an exception.
define internal i1 @run(ptr %record, ptr %frame, ptr %status) {
entry:
  %inputs_at = getelementptr %record, ptr %record, i64 0, i32 1
  %inputs = load i64, ptr %inputs_at
  %results_at = getelementptr %record, ptr %record, i64 0, i32 2
  %results = load i64, ptr %results_at
  %program_at = getelementptr %record, ptr %record, i64 0, i32 10
  %program = load ptr, ptr %program_at
  %sizes_at = getelementptr %record, ptr %record, i64 0, i32 11
  %sizes = load ptr, ptr %sizes_at
  %arena_bytes_at = getelementptr %record, ptr %record, i64 0, i32 12
  %arena_bytes = load i64, ptr %arena_bytes_at
  %fixed_at = getelementptr %record, ptr %record, i64 0, i32 13
  %fixed = load i64, ptr %fixed_at
  %each_at = getelementptr %record, ptr %record, i64 0, i32 14
  %each = load i64, ptr %each_at
  %workers_at = getelementptr %record, ptr %record, i64 0, i32 15
  %workers_place = load ptr, ptr %workers_at
  ; Threads that are added meanwhile take no part: there is no scratch for them.
  %workers = load i64, ptr %workers_place
  %varying = mul i64 %each, %workers
  %bytes = add i64 %fixed, %varying
  %arena = call ptr @lease_arena(i64 %bytes)
  %none = icmp eq ptr %arena, null
  br i1 %none, label %error, label %go
go:
  %integer = call ptr @slot(ptr %arena, ptr @buffer_ptr)
  %at = call ptr @address(ptr %integer)
  %scratch = getelementptr i8, ptr %at, i64 %arena_bytes
  %threads = add i64 %workers, 1
  %pointers = load ptr, ptr %frame
  %count = add i64 %inputs, %results
  %first = getelementptr ptr, ptr %pointers, i64 %count
  %second = getelementptr ptr, ptr %first, i64 1
  %third = getelementptr ptr, ptr %first, i64 2
  store ptr %at, ptr %first
  store ptr %scratch, ptr %second
  store i64 %threads, ptr %third
  %thread = call ptr @PyEval_SaveThread()
  %code = call i32 %program(ptr null, ptr %pointers, ptr %sizes, ptr null)
  call void @PyEval_RestoreThread(ptr %thread)
  store i32 %code, ptr %status
  %arenas = load ptr, ptr @arenas
  %lost = call i32 @PyList_Append(ptr %arenas, ptr %arena)
  call void @Py_DecRef(ptr %arena)
  %kept = icmp eq i32 %lost, 0
  br i1 %kept, label %done, label %clear
clear:
  call void @PyErr_Clear()
  br label %done
done:
  ret i1 true
error:
  ret i1 false
}

; ---- the way back -------------------------------------------------------------------------------

; Results as a list, or the only one; null with an exception. It takes over the references.
define internal ptr @collected(ptr %record, ptr %made) {
entry:
  %single_at = getelementptr %record, ptr %record, i64 0, i32 9
  %single = load i64, ptr %single_at
  %count_at = getelementptr %record, ptr %record, i64 0, i32 2
  %count = load i64, ptr %count_at
  %one = icmp ne i64 %single, 0
  br i1 %one, label %only, label %all
only:
  %result = load ptr, ptr %made
  store ptr null, ptr %made
  ret ptr %result
all:
  %list = call ptr @PyList_New(i64 %count)
  %failed = icmp eq ptr %list, null
  br i1 %failed, label %done, label %each
each:
  %k = phi i64 [0, %all], [%next, %put]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %put, label %done
put:
  %at = getelementptr ptr, ptr %made, i64 %k
  %object = load ptr, ptr %at
  store ptr null, ptr %at
  %error = call i32 @PyList_SetItem(ptr %list, i64 %k, ptr %object)
  %next = add i64 %k, 1
  br label %each
done:
  ret ptr %list
}

define internal void @drop(ptr %objects, i64 %count) {
entry:
  br label %each
each:
  %i = phi i64 [0, %entry], [%next, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %at
  call void @Py_DecRef(ptr %object)
  %next = add i64 %i, 1
  br label %each
done:
  ret void
}

; A call, from the tuple of its arguments, or, where `operands` is their number, from an array of
; operands that look as they have to: None where Python has to look, a status other than 0 as an int,
; else results. `self` is a tuple, first the address of the record, then what the record refers to.
define internal ptr @perform(ptr %self, ptr %given, i64 %operands) {
entry:
  %status = alloca i32
  %frame = alloca %frame
  %integer = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %record = call ptr @address(ptr %integer)
  %inputs_at = getelementptr %record, ptr %record, i64 0, i32 1
  %inputs = load i64, ptr %inputs_at
  %results_at = getelementptr %record, ptr %record, i64 0, i32 2
  %results = load i64, ptr %results_at
  %count = add i64 %inputs, %results
  %passed = add i64 %count, 3
  ; Pointers, numbers, memory, references: eight bytes each.
  %both = mul i64 %inputs, 2
  %all = add i64 %passed, %both
  %words = add i64 %all, %count
  %much = icmp ugt i64 %words, 2048             ; 16 KiB, which any thread's stack has
  %small = select i1 %much, i64 0, i64 %words
  %stack = alloca i64, i64 %small
  br i1 %much, label %allocate, label %begin
allocate:
  %size = mul i64 %words, 8
  %allocated = call ptr @PyMem_RawMalloc(i64 %size)
  %refused = icmp eq ptr %allocated, null
  br i1 %refused, label %exhausted, label %begin
exhausted:
  %exception = call ptr @PyErr_NoMemory()
  ret ptr null
begin:
  %heap = phi ptr [null, %entry], [%allocated, %allocate]
  %pointers = phi ptr [%stack, %entry], [%allocated, %allocate]
  %numbers = getelementptr ptr, ptr %pointers, i64 %passed
  %memory = getelementptr ptr, ptr %numbers, i64 %inputs
  %references = getelementptr ptr, ptr %memory, i64 %inputs
  %bytes = mul i64 %count, 8
  call void @llvm.memset.p0.i64(ptr %references, i8 0, i64 %bytes, i1 false)
  %made = getelementptr ptr, ptr %references, i64 %inputs
  %f1 = insertvalue %frame undef, ptr %pointers, 0
  %f2 = insertvalue %frame %f1, ptr %numbers, 1
  %f3 = insertvalue %frame %f2, ptr %memory, 2
  %f4 = insertvalue %frame %f3, ptr %references, 3
  %f5 = insertvalue %frame %f4, ptr %made, 4
  store %frame %f5, ptr %frame
  %call = icmp slt i64 %operands, 0
  br i1 %call, label %recognize, label %take
recognize:
  %recognized = call i32 @recognize(ptr %record, ptr %given, ptr %frame)
  br label %decide
take:
  %taken = call i1 @operands(ptr %record, ptr %given, i64 %operands, ptr %frame)
  %known = zext i1 %taken to i32
  br label %decide
decide:
  %fits = phi i32 [%recognized, %recognize], [%known, %take]
  switch i32 %fits, label %leave [
    i32 1, label %make
    i32 0, label %miss
  ]
make:
  %complete = call i1 @results(ptr %record, ptr %frame)
  br i1 %complete, label %start, label %leave
start:
  %ran = call i1 @run(ptr %record, ptr %frame, ptr %status)
  br i1 %ran, label %judge, label %leave
judge:
  %code = load i32, ptr %status
  %good = icmp eq i32 %code, 0
  br i1 %good, label %collect, label %failed
failed:
  %wide = sext i32 %code to i64
  %number = call ptr @PyLong_FromSsize_t(i64 %wide)
  br label %leave
collect:
  %collected = call ptr @collected(ptr %record, ptr %made)
  br label %leave
miss:
  %none = load ptr, ptr @none
  call void @Py_IncRef(ptr %none)
  br label %leave
leave:
  %out = phi ptr [null, %decide], [null, %make], [null, %start], [%number, %failed],
                 [%collected, %collect], [%none, %miss]
  call void @drop(ptr %references, i64 %count)
  call void @PyMem_RawFree(ptr %heap)
  ret ptr %out
}

; call(arguments)
define ptr @py_call(ptr %self, ptr %given) {
  %out = call ptr @perform(ptr %self, ptr %given, i64 -1)
  ret ptr %out
}
