; Whether a call may run a program: looks at its arguments, and at what else has to be as it was.
; It continues objects.ll.
;
; A record says what the arguments have to be and what is to be done. What looks at them gives 1
; where they fit; 0 where they do not, or may not, and Python has to look; -1 with an exception.
; Slots of an argument are read in one go, before anything that may run Python code, and the memory
; is held until the program has ended: what other threads do to the argument changes nothing.

%record = type {
  i64,                                          ; 0: number of arguments
  i64,                                          ; 1: number of inputs, the arguments among them
  i64,                                          ; 2: number of results
  i64,                                          ; 3: number of conditions
  ptr,                                          ; 4: conditions
  ptr,                                          ; 5: arguments
  ptr,                                          ; 6: the other inputs
  ptr,                                          ; 7: results
  ptr,                                          ; 8: called with the arguments, says True; or null
  i64,                                          ; 9: whether there is one result, which is returned
  ptr,                                          ; 10: the program
  ptr,                                          ; 11: the sizes it reads
  i64,                                          ; 12: bytes of the arena
  i64,                                          ; 13: bytes of arena and scratch
  i64,                                          ; 14: bytes more for each worker
  ptr,                                          ; 15: number of workers
  ptr,                                          ; 16: an object whose attribute
  ptr,                                          ; 17: of this name
  i64                                           ; 18: is this integer
}
; What an attribute of an object, or without a name what the object returns, has to be.
%condition = type { ptr, ptr, ptr }             ; object, name, value
%argument = type { ptr, ptr, ptr }              ; meta, strides, requires_grad
%input = type { i64, ptr }                      ; a captured tensor, or 1 and what gives a number
%result = type { ptr, ptr, ptr, ptr, i64 }      ; layout of new ones; else null, the input it is

; The state of a call: arrays with a place for each input and result. References are in `held` and
; `made`, or null.
%frame = type { ptr, ptr, ptr, ptr, ptr }       ; pointers, numbers, memory, held, made

declare double @PyFloat_AsDouble(ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare i32 @PyObject_IsTrue(ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)
declare i64 @PyTuple_Size(ptr)

; ---- arguments --------------------------------------------------------------------------------

define internal i32 @equal(ptr %value, ptr %wanted) alwaysinline {
entry:
  %same = icmp eq ptr %value, %wanted
  br i1 %same, label %yes, label %compare
compare:
  %equal = call i32 @PyObject_RichCompareBool(ptr %value, ptr %wanted, i32 2)
  ret i32 %equal
yes:
  ret i32 1
}

; The memory of a tensor: its storage, its buffer with a new reference, and the address.
define internal i1 @memory(ptr %tensor, ptr %place, ptr %held, ptr %pointer) alwaysinline {
entry:
  %storage = call ptr @slot(ptr %tensor, ptr @tensor_storage)
  %concrete = call i1 @is(ptr %storage, ptr @storage)
  br i1 %concrete, label %look, label %no
look:
  %buffer = call ptr @slot(ptr %storage, ptr @storage_buffer)
  %real = call i1 @is(ptr %buffer, ptr @buffer)
  br i1 %real, label %read, label %no
read:
  %integer = call ptr @slot(ptr %buffer, ptr @buffer_ptr)
  %address = call ptr @address(ptr %integer)
  %nowhere = icmp eq ptr %address, null
  br i1 %nowhere, label %no, label %take
take:
  call void @Py_IncRef(ptr %buffer)
  store ptr %storage, ptr %place
  store ptr %buffer, ptr %held
  store ptr %address, ptr %pointer
  ret i1 true
no:
  ret i1 false
}

; Whether one of the first places in memory is this one.
define internal i1 @taken(ptr %memory, i64 %count, ptr %place) alwaysinline {
entry:
  br label %each
each:
  %i = phi i64 [0, %entry], [%next, %other]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %done
look:
  %at = getelementptr ptr, ptr %memory, i64 %i
  %one = load ptr, ptr %at
  %next = add i64 %i, 1
  %same = icmp eq ptr %one, %place
  br i1 %same, label %done, label %other
other:
  br label %each
done:
  %found = phi i1 [false, %each], [true, %look]
  ret i1 %found
}

define internal i32 @argument(ptr %x, ptr %wanted, ptr %frame, i64 %i) {
entry:
  %tensor = call i1 @is(ptr %x, ptr @tensor)
  %parameter = call i1 @is(ptr %x, ptr @parameter)
  %known = or i1 %tensor, %parameter
  br i1 %known, label %plain, label %no
plain:
  %offset = call ptr @slot(ptr %x, ptr @tensor_offset)
  %zero = load ptr, ptr @zero
  %whole = icmp eq ptr %offset, %zero
  %tracked = call ptr @slot(ptr %x, ptr @tensor_requires_grad)
  %tracked_at = getelementptr %argument, ptr %wanted, i64 0, i32 2
  %as = load ptr, ptr %tracked_at
  %alike = icmp eq ptr %tracked, %as
  %meta = call ptr @slot(ptr %x, ptr @tensor_meta)
  %no_meta = icmp eq ptr %meta, null
  %strides = call ptr @slot(ptr %x, ptr @tensor_strides)
  %no_strides = icmp eq ptr %strides, null
  %unset = or i1 %no_meta, %no_strides
  %set = xor i1 %unset, true
  %both = and i1 %whole, %alike
  %fits = and i1 %both, %set
  br i1 %fits, label %where, label %no
where:
  %pointers = load ptr, ptr %frame
  %pointer = getelementptr ptr, ptr %pointers, i64 %i
  %memory_at = getelementptr %frame, ptr %frame, i64 0, i32 2
  %memory = load ptr, ptr %memory_at
  %place = getelementptr ptr, ptr %memory, i64 %i
  %held_at = getelementptr %frame, ptr %frame, i64 0, i32 3
  %holds = load ptr, ptr %held_at
  %held = getelementptr ptr, ptr %holds, i64 %i
  %has = call i1 @memory(ptr %x, ptr %place, ptr %held, ptr %pointer)
  br i1 %has, label %compare, label %no
compare:
  call void @Py_IncRef(ptr %meta)
  call void @Py_IncRef(ptr %strides)
  %wanted_meta = load ptr, ptr %wanted
  %one = call i32 @equal(ptr %meta, ptr %wanted_meta)
  %good = icmp eq i32 %one, 1
  br i1 %good, label %further, label %release
further:
  %strides_at = getelementptr %argument, ptr %wanted, i64 0, i32 1
  %wanted_strides = load ptr, ptr %strides_at
  %two = call i32 @equal(ptr %strides, ptr %wanted_strides)
  br label %release
release:
  %result = phi i32 [%one, %compare], [%two, %further]
  call void @Py_DecRef(ptr %meta)
  call void @Py_DecRef(ptr %strides)
  ret i32 %result
no:
  ret i32 0
}

define internal i32 @arguments(ptr %record, ptr %given, ptr %frame) {
entry:
  %count = load i64, ptr %record
  %length = call i64 @PyTuple_Size(ptr %given)
  %wanted_at = getelementptr %record, ptr %record, i64 0, i32 5
  %wanted = load ptr, ptr %wanted_at
  %memory_at = getelementptr %frame, ptr %frame, i64 0, i32 2
  %memory = load ptr, ptr %memory_at
  %right = icmp eq i64 %length, %count
  br i1 %right, label %each, label %wrong
wrong:
  %tuple = icmp sge i64 %length, 0
  %misfit = select i1 %tuple, i32 0, i32 -1
  ret i32 %misfit
each:
  %i = phi i64 [0, %entry], [%next, %own]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %done
look:
  %x = call ptr @PyTuple_GetItem(ptr %given, i64 %i)
  %this = getelementptr %argument, ptr %wanted, i64 %i
  %fits = call i32 @argument(ptr %x, ptr %this, ptr %frame, i64 %i)
  %good = icmp eq i32 %fits, 1
  br i1 %good, label %distinct, label %leave
leave:
  ret i32 %fits
distinct:
  %at = getelementptr ptr, ptr %memory, i64 %i
  %place = load ptr, ptr %at
  %shared = call i1 @taken(ptr %memory, i64 %i, ptr %place)
  %next = add i64 %i, 1
  br i1 %shared, label %shares, label %own
own:
  br label %each
shares:
  ret i32 0
done:
  ret i32 1
}

; ---- what else has to be as it was --------------------------------------------------------------

; The epoch in which all that is looked at only once in each was as it has to be.
define internal i1 @in_epoch(ptr %record) alwaysinline {
entry:
  %object_at = getelementptr %record, ptr %record, i64 0, i32 16
  %object = load ptr, ptr %object_at
  %name_at = getelementptr %record, ptr %record, i64 0, i32 17
  %name = load ptr, ptr %name_at
  %epoch_at = getelementptr %record, ptr %record, i64 0, i32 18
  %attribute = call ptr @PyObject_GetAttr(ptr %object, ptr %name)
  %missing = icmp eq ptr %attribute, null
  br i1 %missing, label %clear, label %compare
clear:
  call void @PyErr_Clear()
  ret i1 false
compare:
  %now = call i64 @PyLong_AsSsize_t(ptr %attribute)
  call void @Py_DecRef(ptr %attribute)
  %epoch = load i64, ptr %epoch_at
  %same = icmp eq i64 %now, %epoch
  ret i1 %same
}

define internal i1 @conditions(ptr %record) {
entry:
  %count_at = getelementptr %record, ptr %record, i64 0, i32 3
  %count = load i64, ptr %count_at
  %all_at = getelementptr %record, ptr %record, i64 0, i32 4
  %all = load ptr, ptr %all_at
  br label %each
each:
  %i = phi i64 [0, %entry], [%next, %compare]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %done
look:
  %this = getelementptr %condition, ptr %all, i64 %i
  %object = load ptr, ptr %this
  %name_at = getelementptr %condition, ptr %this, i64 0, i32 1
  %name = load ptr, ptr %name_at
  %wanted_at = getelementptr %condition, ptr %this, i64 0, i32 2
  %wanted = load ptr, ptr %wanted_at
  %called = icmp eq ptr %name, null
  br i1 %called, label %call, label %get
call:
  %returned = call ptr @PyObject_CallNoArgs(ptr %object)
  br label %compare
get:
  %attribute = call ptr @PyObject_GetAttr(ptr %object, ptr %name)
  br label %compare
compare:
  %value = phi ptr [%returned, %call], [%attribute, %get]
  call void @Py_DecRef(ptr %value)              ; that it is the same is all that matters
  %same = icmp eq ptr %value, %wanted
  %next = add i64 %i, 1
  br i1 %same, label %each, label %other
other:
  call void @PyErr_Clear()                      ; a name that is gone
  ret i1 false
done:
  ret i1 true
}

define internal i32 @checked(ptr %record, ptr %given) alwaysinline {
entry:
  %check_at = getelementptr %record, ptr %record, i64 0, i32 8
  %check = load ptr, ptr %check_at
  %none = icmp eq ptr %check, null
  br i1 %none, label %yes, label %ask
ask:
  %answer = call ptr @PyObject_CallOneArg(ptr %check, ptr %given)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %error, label %convert
convert:
  %truth = call i32 @PyObject_IsTrue(ptr %answer)
  call void @Py_DecRef(ptr %answer)
  ret i32 %truth
yes:
  ret i32 1
error:
  ret i32 -1
}

; A captured tensor shares no memory with arguments; a number is asked for.
define internal i32 @input(ptr %record, ptr %this, ptr %frame, i64 %i) {
entry:
  %arguments = load i64, ptr %record
  %kind = load i64, ptr %this
  %object_at = getelementptr %input, ptr %this, i64 0, i32 1
  %object = load ptr, ptr %object_at
  %pointers = load ptr, ptr %frame
  %pointer = getelementptr ptr, ptr %pointers, i64 %i
  %captured = icmp eq i64 %kind, 0
  br i1 %captured, label %look, label %ask
look:
  %memory_at = getelementptr %frame, ptr %frame, i64 0, i32 2
  %memory = load ptr, ptr %memory_at
  %place = getelementptr ptr, ptr %memory, i64 %i
  %held_at = getelementptr %frame, ptr %frame, i64 0, i32 3
  %holds = load ptr, ptr %held_at
  %held = getelementptr ptr, ptr %holds, i64 %i
  %has = call i1 @memory(ptr %object, ptr %place, ptr %held, ptr %pointer)
  br i1 %has, label %distinct, label %no
distinct:
  %storage = load ptr, ptr %place
  %shared = call i1 @taken(ptr %memory, i64 %arguments, ptr %storage)
  br i1 %shared, label %no, label %yes
ask:
  %number = call ptr @PyObject_CallNoArgs(ptr %object)
  %failed = icmp eq ptr %number, null
  br i1 %failed, label %error, label %convert
convert:
  %numbers_at = getelementptr %frame, ptr %frame, i64 0, i32 1
  %numbers = load ptr, ptr %numbers_at
  %slot = getelementptr double, ptr %numbers, i64 %i
  %value = call double @PyFloat_AsDouble(ptr %number)
  call void @Py_DecRef(ptr %number)
  store double %value, ptr %slot
  store ptr %slot, ptr %pointer
  %suspect = fcmp oeq double %value, -1.0
  br i1 %suspect, label %sure, label %yes
sure:
  %exception = call ptr @PyErr_Occurred()
  %none = icmp eq ptr %exception, null
  br i1 %none, label %yes, label %error
yes:
  ret i32 1
no:
  ret i32 0
error:
  ret i32 -1
}

define internal i32 @inputs(ptr %record, ptr %frame) {
entry:
  %arguments = load i64, ptr %record
  %count_at = getelementptr %record, ptr %record, i64 0, i32 1
  %count = load i64, ptr %count_at
  %all_at = getelementptr %record, ptr %record, i64 0, i32 6
  %all = load ptr, ptr %all_at
  br label %each
each:
  %i = phi i64 [%arguments, %entry], [%next, %look]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %done
look:
  %k = sub i64 %i, %arguments
  %this = getelementptr %input, ptr %all, i64 %k
  %fits = call i32 @input(ptr %record, ptr %this, ptr %frame, i64 %i)
  %next = add i64 %i, 1
  %good = icmp eq i32 %fits, 1
  br i1 %good, label %each, label %leave
leave:
  ret i32 %fits
done:
  ret i32 1
}

define internal i32 @recognize(ptr %record, ptr %given, ptr %frame) {
entry:
  %unchanged = call i1 @in_epoch(ptr %record)
  br i1 %unchanged, label %more, label %no
more:
  %as_was = call i1 @conditions(ptr %record)
  br i1 %as_was, label %look, label %no
no:
  ret i32 0
look:
  %arguments = call i32 @arguments(ptr %record, ptr %given, ptr %frame)
  %one = icmp eq i32 %arguments, 1
  br i1 %one, label %check, label %done
check:
  %checked = call i32 @checked(ptr %record, ptr %given)
  %two = icmp eq i32 %checked, 1
  br i1 %two, label %gather, label %done
gather:
  %inputs = call i32 @inputs(ptr %record, ptr %frame)
  br label %done
done:
  %fits = phi i32 [%arguments, %look], [%checked, %check], [%inputs, %gather]
  ret i32 %fits
}
