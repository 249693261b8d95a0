; Python objects that native code reads and makes: tensors, their storages, and buffers.
;
; Everything here runs with the interpreter lock held, and is atomic where it calls nothing that may
; run Python code. What may: making an object (a garbage collection), dropping a reference,
; comparing, calling. Slots are read as memory; native.py finds out where they are, and proves it.

; ---- what native.py fills in ------------------------------------------------------------------

@tensor = global ptr null                       ; types
@parameter = global ptr null
@storage = global ptr null
@buffer = global ptr null
@list = global ptr null

@none = global ptr null                         ; objects
@false = global ptr null
@zero = global ptr null
@nothing = global ptr null                      ; the empty tuple
@append = global ptr null                       ; the name
@empty = global ptr null                        ; makes a buffer of a number of bytes
@arenas = global ptr null                       ; a list of buffers that wait to be leased
@lease = global ptr null                        ; leases one of a number of bytes

@object_type = global i64 0                     ; offsets in objects
@tensor_meta = global i64 0
@tensor_storage = global i64 0
@tensor_strides = global i64 0
@tensor_offset = global i64 0
@tensor_requires_grad = global i64 0
@storage_buffer = global i64 0
@storage_version = global i64 0
@storage_rebased = global i64 0
@buffer_ptr = global i64 0
@buffer_nbytes = global i64 0
@buffer_readonly = global i64 0
@buffer_owner = global i64 0
@buffer_block = global i64 0
@buffer_freed = global i64 0

; Bytes of blocks in use, and the most there ever were.
@usage = global [2 x i64] zeroinitializer

declare ptr @PyErr_Occurred()
declare void @PyErr_Clear()
declare i32 @PyList_Append(ptr, ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare i32 @PyList_SetSlice(ptr, i64, i64, ptr)
declare i64 @PyList_Size(ptr)
declare i64 @PyLong_AsSsize_t(ptr)
declare ptr @PyLong_AsVoidPtr(ptr)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare ptr @PyObject_VectorcallMethod(ptr, ptr, i64, ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare void @Py_DecRef(ptr)                    ; both accept null
declare void @Py_IncRef(ptr)
declare ptr @object_new(ptr, ptr, ptr)          ; object.__new__

; ---- slots ------------------------------------------------------------------------------------

; What a slot holds, borrowed; null where it was never set or was deleted.
define internal ptr @slot(ptr %object, ptr %where) alwaysinline {
  %offset = load i64, ptr %where
  %at = getelementptr i8, ptr %object, i64 %offset
  %value = load ptr, ptr %at
  ret ptr %value
}

; Fills an empty slot, which takes over the reference.
define internal void @give(ptr %object, ptr %where, ptr %value) alwaysinline {
  %offset = load i64, ptr %where
  %at = getelementptr i8, ptr %object, i64 %offset
  store ptr %value, ptr %at
  ret void
}

; Fills an empty slot with a new reference.
define internal void @share(ptr %object, ptr %where, ptr %value) alwaysinline {
  call void @Py_IncRef(ptr %value)
  call void @give(ptr %object, ptr %where, ptr %value)
  ret void
}

; Whether an object, which may be null, is of exactly this type.
define internal i1 @is(ptr %object, ptr %type) alwaysinline {
entry:
  %missing = icmp eq ptr %object, null
  br i1 %missing, label %no, label %look
look:
  %its = call ptr @slot(ptr %object, ptr @object_type)
  %wanted = load ptr, ptr %type
  %same = icmp eq ptr %its, %wanted
  ret i1 %same
no:
  ret i1 false
}

define internal ptr @new(ptr %type) alwaysinline {
  %class = load ptr, ptr %type
  %arguments = load ptr, ptr @nothing
  %object = call ptr @object_new(ptr %class, ptr %arguments, ptr null)
  ret ptr %object
}

; An integer that is an address; null, and no exception, where it is none.
define internal ptr @address(ptr %integer) alwaysinline {
entry:
  %missing = icmp eq ptr %integer, null
  br i1 %missing, label %none, label %convert
convert:
  %address = call ptr @PyLong_AsVoidPtr(ptr %integer)
  %zero = icmp eq ptr %address, null
  br i1 %zero, label %clear, label %done
clear:
  call void @PyErr_Clear()
  br label %none
none:
  ret ptr null
done:
  ret ptr %address
}

; ---- memory -----------------------------------------------------------------------------------

define internal void @account(i64 %bytes) alwaysinline {
entry:
  %peak_at = getelementptr i64, ptr @usage, i64 1
  %live = load i64, ptr @usage
  %now = add i64 %live, %bytes
  store i64 %now, ptr @usage
  %peak = load i64, ptr %peak_at
  %higher = icmp sgt i64 %now, %peak
  br i1 %higher, label %raise, label %done
raise:
  store i64 %now, ptr %peak_at
  br label %done
done:
  ret void
}

; account(bytes): counts bytes that are in use from now on, or, below 0, no more.
define ptr @py_account(ptr %self, ptr %bytes) {
entry:
  %count = call i64 @PyLong_AsSsize_t(ptr %bytes)
  %failed = icmp eq i64 %count, -1
  br i1 %failed, label %look, label %add
look:
  %exception = call ptr @PyErr_Occurred()
  %none = icmp eq ptr %exception, null
  br i1 %none, label %add, label %error
add:
  call void @account(i64 %count)
  %nothing = load ptr, ptr @none
  call void @Py_IncRef(ptr %nothing)
  ret ptr %nothing
error:
  ret ptr null
}

; The last of a list, which leaves it; null, and no exception, where the list is empty.
define internal ptr @take(ptr %blocks) alwaysinline {
entry:
  %count = call i64 @PyList_Size(ptr %blocks)
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %last, label %none
last:
  %index = sub i64 %count, 1
  %block = call ptr @PyList_GetItem(ptr %blocks, i64 %index)
  call void @Py_IncRef(ptr %block)
  %error = call i32 @PyList_SetSlice(ptr %blocks, i64 %index, i64 %count, ptr null)
  %good = icmp eq i32 %error, 0
  br i1 %good, label %done, label %keep
keep:
  call void @PyErr_Clear()
  call void @Py_DecRef(ptr %block)
  br label %none
none:
  ret ptr null
done:
  ret ptr %block
}

; A buffer of a number of bytes: a recycled block, if there is one in the list; else Python's way.
define internal ptr @make_buffer(ptr %nbytes, ptr %blocks) {
entry:
  %recycles = call i1 @is(ptr %blocks, ptr @list)
  br i1 %recycles, label %try, label %ask
try:
  %block = call ptr @take(ptr %blocks)
  %none = icmp eq ptr %block, null
  br i1 %none, label %ask, label %make
ask:
  %python = load ptr, ptr @empty
  %made = call ptr @PyObject_CallOneArg(ptr %python, ptr %nbytes)
  ret ptr %made
make:
  %buffer = call ptr @new(ptr @buffer)
  %failed = icmp eq ptr %buffer, null
  br i1 %failed, label %drop, label %fill
fill:
  %address = call ptr @PyTuple_GetItem(ptr %block, i64 0)
  %size = call ptr @PyTuple_GetItem(ptr %block, i64 1)
  %bytes = call i64 @PyLong_AsSsize_t(ptr %size)
  call void @account(i64 %bytes)
  %absent = load ptr, ptr @none
  %no = load ptr, ptr @false
  call void @share(ptr %buffer, ptr @buffer_ptr, ptr %address)
  call void @share(ptr %buffer, ptr @buffer_nbytes, ptr %nbytes)
  call void @share(ptr %buffer, ptr @buffer_readonly, ptr %no)
  call void @share(ptr %buffer, ptr @buffer_owner, ptr %absent)
  call void @share(ptr %buffer, ptr @buffer_freed, ptr %blocks)
  call void @give(ptr %buffer, ptr @buffer_block, ptr %block)
  ret ptr %buffer
drop:
  %back = call i32 @PyList_Append(ptr %blocks, ptr %block)
  call void @Py_DecRef(ptr %block)
  ret ptr null
}

; make_buffer(nbytes, blocks)
define ptr @py_make_buffer(ptr %self, ptr %arguments, i64 %count) {
entry:
  %two = icmp eq i64 %count, 2
  br i1 %two, label %make, label %none
make:
  %nbytes = load ptr, ptr %arguments
  %second = getelementptr ptr, ptr %arguments, i64 1
  %blocks = load ptr, ptr %second
  %buffer = call ptr @make_buffer(ptr %nbytes, ptr %blocks)
  ret ptr %buffer
none:
  %nothing = load ptr, ptr @none
  call void @Py_IncRef(ptr %nothing)
  ret ptr %nothing
}

; Buffer.__del__: the block goes back to where free ones are kept, a list for those that count here.
define ptr @py_release(ptr %buffer, ptr %ignored) {
entry:
  %arguments = alloca [2 x ptr]
  %absent = load ptr, ptr @none
  call void @Py_IncRef(ptr %absent)
  %block = call ptr @slot(ptr %buffer, ptr @buffer_block)
  %freed = call ptr @slot(ptr %buffer, ptr @buffer_freed)
  %unset = icmp eq ptr %block, null
  %wrapped = icmp eq ptr %block, %absent
  %nowhere = icmp eq ptr %freed, null
  %neither = or i1 %unset, %wrapped
  %done = or i1 %neither, %nowhere
  br i1 %done, label %leave, label %put
put:
  ; The buffer is called again only by someone who looks for trouble, and then has no block.
  call void @share(ptr %buffer, ptr @buffer_block, ptr %absent)
  call void @Py_IncRef(ptr %freed)
  %counted = call i1 @is(ptr %freed, ptr @list)
  br i1 %counted, label %count, label %append
count:
  %size = call ptr @PyTuple_GetItem(ptr %block, i64 1)
  %bytes = call i64 @PyLong_AsSsize_t(ptr %size)
  %less = sub i64 0, %bytes
  call void @account(i64 %less)
  %error = call i32 @PyList_Append(ptr %freed, ptr %block)
  br label %drop
append:
  %name = load ptr, ptr @append
  store ptr %freed, ptr %arguments
  %second = getelementptr ptr, ptr %arguments, i64 1
  store ptr %block, ptr %second
  %result = call ptr @PyObject_VectorcallMethod(ptr %name, ptr %arguments, i64 2, ptr null)
  call void @Py_DecRef(ptr %result)
  br label %drop
drop:
  call void @PyErr_Clear()                      ; out of memory: then the block is lost
  call void @Py_DecRef(ptr %freed)
  call void @Py_DecRef(ptr %block)
  br label %leave
leave:
  ret ptr %absent
}

; ---- tensors ----------------------------------------------------------------------------------

; A tensor over new memory; null with an exception. `pointer` receives the address.
define internal ptr @make_tensor(ptr %meta, ptr %strides, ptr %nbytes, ptr %blocks, ptr %pointer) {
entry:
  %buffer = call ptr @make_buffer(ptr %nbytes, ptr %blocks)
  %no_buffer = icmp eq ptr %buffer, null
  br i1 %no_buffer, label %failed, label %store
store:
  %integer = call ptr @slot(ptr %buffer, ptr @buffer_ptr)
  %address = call ptr @address(ptr %integer)
  store ptr %address, ptr %pointer
  %storage = call ptr @new(ptr @storage)
  %no_storage = icmp eq ptr %storage, null
  br i1 %no_storage, label %drop_buffer, label %wrap
wrap:
  %zero = load ptr, ptr @zero
  %no = load ptr, ptr @false
  call void @give(ptr %storage, ptr @storage_buffer, ptr %buffer)
  call void @share(ptr %storage, ptr @storage_version, ptr %zero)
  call void @share(ptr %storage, ptr @storage_rebased, ptr %zero)
  %tensor = call ptr @new(ptr @tensor)
  %no_tensor = icmp eq ptr %tensor, null
  br i1 %no_tensor, label %drop_storage, label %fill
fill:
  call void @give(ptr %tensor, ptr @tensor_storage, ptr %storage)
  call void @share(ptr %tensor, ptr @tensor_meta, ptr %meta)
  call void @share(ptr %tensor, ptr @tensor_strides, ptr %strides)
  call void @share(ptr %tensor, ptr @tensor_offset, ptr %zero)
  call void @share(ptr %tensor, ptr @tensor_requires_grad, ptr %no)
  ret ptr %tensor
drop_buffer:
  call void @Py_DecRef(ptr %buffer)
  br label %failed
drop_storage:
  call void @Py_DecRef(ptr %storage)
  br label %failed
failed:
  ret ptr null
}

; new_tensor((meta, strides, nbytes, blocks)): a tensor over new memory.
define ptr @py_new_tensor(ptr %self, ptr %layout) {
entry:
  %pointer = alloca ptr
  %meta = call ptr @PyTuple_GetItem(ptr %layout, i64 0)
  %strides = call ptr @PyTuple_GetItem(ptr %layout, i64 1)
  %nbytes = call ptr @PyTuple_GetItem(ptr %layout, i64 2)
  %blocks = call ptr @PyTuple_GetItem(ptr %layout, i64 3)
  %short = icmp eq ptr %blocks, null
  br i1 %short, label %failed, label %make
make:
  %tensor = call ptr @make_tensor(ptr %meta, ptr %strides, ptr %nbytes, ptr %blocks, ptr %pointer)
  ret ptr %tensor
failed:
  ret ptr null
}
