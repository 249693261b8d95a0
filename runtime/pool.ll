; A pool of threads for parallel loops. Compiled at first use; see threads.py for the other half.
;
; One job runs at a time. Its caller publishes it, takes part in it, closes it to newcomers, and
; waits until all who joined have left. Everything about a job's life is in one word,
;
;     state = generation << 32 | open << 31 | number of workers inside,
;
; so that a worker can join only by a compare-and-swap that proves the very job it saw to be still
; open. A worker that comes late, or is never scheduled, is thus never waited for, and the caller
; needs no second word whose order against the first would have to be argued. Tasks are handed out
; by an atomic counter, so fast workers take more.
;
; Waiting workers spin for a while, since loops follow each other closely and waking takes 50 us;
; then they park on a futex on the upper half of `state`. The generation changes with every job,
; so a job published between the last look and the system call makes that call return at once.
;
; If the pool is busy (a loop in a task of a loop, or a second Python thread), the caller runs all
; tasks itself. Hence `tid`, 0 for any caller and 1 .. for workers, does not name a thread uniquely:
; scratch memory belongs to the call.
;
; Each group of variables has cache lines of its own (128 bytes: two are fetched together).

@state = internal global i64 0, align 128
@next = internal global i64 0, align 128        ; the first task that nobody has taken
@job_function = internal global ptr null, align 128
@job_argument = internal global ptr null
@job_count = internal global i64 0
@job_threads = internal global i64 0            ; the first that may take no part
@job_mode = internal global i32 0               ; MXCSR of the caller: rounding, denormals
@parked = internal global i32 0, align 128      ; workers at or near the futex
@busy = internal global i32 0, align 128        ; held by the caller whose job it is
@stop = internal global i32 0
@owner = internal global i32 0                  ; the process that the workers belong to
@workers = internal global i64 0                ; running
@avoided = internal global i32 -1               ; the processor that workers stay away from
@processors = internal global [128 x i8] zeroinitializer, align 16
@steerable = internal global i1 false
@threads = internal global [1024 x i64] zeroinitializer

; How many workers to start at the next job; fewer after the system refused one.
@calque_pool_wanted = global i64 0

@name = internal constant [7 x i8] c"calque\00"

%timespec = type { i64, i64 }

declare i32 @clock_gettime(i32, ptr)
declare i32 @getpid()
declare i32 @prctl(i32, ...)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_setaffinity_np(i64, i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_getcpu()
declare i32 @sched_yield()
declare i32 @sigdelset(ptr, i32)
declare i32 @sigfillset(ptr)
declare i64 @syscall(i64, ...)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse2.pause()

; Nanoseconds of the monotonic clock.
define internal i64 @now() {
  %time = alloca %timespec
  %error = call i32 @clock_gettime(i32 1, ptr %time)
  %seconds = load i64, ptr %time
  %at = getelementptr %timespec, ptr %time, i64 0, i32 1
  %nanoseconds = load i64, ptr %at
  %scaled = mul i64 %seconds, 1000000000
  %sum = add i64 %scaled, %nanoseconds
  ret i64 %sum
}

define internal void @sleep_while_generation_is(i32 %generation) {
  ; FUTEX_WAIT | FUTEX_PRIVATE_FLAG. Any reason to return is a reason to look again.
  %woken = call i64 (i64, ...) @syscall(i64 202, ptr getelementptr (i8, ptr @state, i64 4),
                                        i32 128, i32 %generation, ptr null, ptr null, i32 0)
  ret void
}

define internal void @wake(i32 %count) {
  ; FUTEX_WAKE | FUTEX_PRIVATE_FLAG
  %woken = call i64 (i64, ...) @syscall(i64 202, ptr getelementptr (i8, ptr @state, i64 4),
                                        i32 129, i32 %count, ptr null, ptr null, i32 0)
  ret void
}

; Takes tasks of the current job until none is left.
define internal void @work(i64 %tid) {
entry:
  %function = load ptr, ptr @job_function
  %argument = load ptr, ptr @job_argument
  %count = load i64, ptr @job_count
  %threads = load i64, ptr @job_threads
  %allowed = icmp ult i64 %tid, %threads
  br i1 %allowed, label %take, label %done
take:
  %task = atomicrmw add ptr @next, i64 1 monotonic
  %some = icmp slt i64 %task, %count
  br i1 %some, label %run, label %done
run:
  call void %function(ptr %argument, i64 %task, i64 %tid)
  br label %take
done:
  ret void
}

define internal ptr @worker(ptr %number) {
entry:
  %tid = ptrtoint ptr %number to i64
  %named = call i32 (i32, ...) @prctl(i32 15, ptr @name, i64 0, i64 0, i64 0)
  br label %wait

; `seen` is the generation that this worker is done with.
wait:
  %seen = phi i32 [0, %entry], [%seen, %park], [%generation, %joined], [%generation, %look]
  %since = call i64 @now()
  br label %poll
poll:
  %spins = phi i64 [0, %wait], [%spins1, %spin], [%spins1, %clock], [%spins, %join]
  %word = load atomic i64, ptr @state acquire, align 8
  %upper = lshr i64 %word, 32
  %generation = trunc i64 %upper to i32
  %old = icmp eq i32 %generation, %seen
  br i1 %old, label %spin, label %new
spin:
  call void @llvm.x86.sse2.pause()
  %spins1 = add i64 %spins, 1
  %low = and i64 %spins1, 63
  %ask = icmp eq i64 %low, 0
  br i1 %ask, label %clock, label %poll
clock:
  %time = call i64 @now()
  %waited = sub i64 %time, %since
  %long = icmp sgt i64 %waited, 75000
  br i1 %long, label %park, label %poll

; Sequentially consistent on both sides: either the caller, having changed the generation, sees
; this worker counted and wakes it, or the system call sees the changed generation.
park:
  %before = atomicrmw add ptr @parked, i32 1 seq_cst
  call void @sleep_while_generation_is(i32 %seen)
  %after = atomicrmw sub ptr @parked, i32 1 seq_cst
  br label %wait

new:
  %stop = load atomic i32, ptr @stop acquire, align 4
  %stopped = icmp ne i32 %stop, 0
  br i1 %stopped, label %quit, label %look
look:
  %bit = and i64 %word, 2147483648
  %open = icmp ne i64 %bit, 0
  br i1 %open, label %join, label %wait
join:
  %one_more = add i64 %word, 1
  %swap = cmpxchg ptr @state, i64 %word, i64 %one_more acq_rel acquire
  %in = extractvalue { i64, i1 } %swap, 1
  br i1 %in, label %joined, label %poll
joined:
  ; The caller's floating-point mode: results must not depend on who computes them.
  call void @llvm.x86.sse.ldmxcsr(ptr @job_mode)
  call void @work(i64 %tid)
  %was = atomicrmw sub ptr @state, i64 1 release
  br label %wait

quit:
  ret ptr null
}

; Linux wakes a parked worker on the processor it last ran on, even where the caller spins on that
; very processor: the worker then waits for the next tick, 2 ms later. So before waking, workers
; are kept off the caller's processor, if that has changed.
define internal void @steer() {
entry:
  %mask = alloca [128 x i8], align 16
  %here = call i32 @sched_getcpu()
  %avoided = load i32, ptr @avoided
  %moved = icmp ne i32 %here, %avoided
  %steerable = load i1, ptr @steerable
  %in_mask = icmp ult i32 %here, 1024
  %known = and i1 %steerable, %in_mask
  %needed = and i1 %moved, %known
  br i1 %needed, label %exclude, label %done
exclude:
  store i32 %here, ptr @avoided
  call void @llvm.memcpy.p0.p0.i64(ptr %mask, ptr @processors, i64 128, i1 false)
  %index = lshr i32 %here, 3
  %at = getelementptr i8, ptr %mask, i32 %index
  %shift = and i32 %here, 7
  %bit32 = shl i32 1, %shift
  %bit = trunc i32 %bit32 to i8
  %others = xor i8 %bit, -1
  %byte = load i8, ptr %at
  %rest = and i8 %byte, %others
  store i8 %rest, ptr %at
  %workers = load i64, ptr @workers
  br label %each
each:
  %i = phi i64 [0, %exclude], [%i1, %each]
  %slot = getelementptr i64, ptr @threads, i64 %i
  %thread = load i64, ptr %slot
  ; Refused where the mask is empty, that is, where there is only one processor.
  %error = call i32 @pthread_setaffinity_np(i64 %thread, i64 128, ptr %mask)
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %workers
  br i1 %more, label %each, label %done
done:
  ret void
}

; Starts the wanted workers; called with `busy` held.
define internal void @start() {
entry:
  %signals = alloca [128 x i8], align 16
  %kept = alloca [128 x i8], align 16
  %attributes = alloca [128 x i8], align 16
  %wanted = load i64, ptr @calque_pool_wanted
  %pid = call i32 @getpid()
  store i32 %pid, ptr @owner
  store i32 0, ptr @stop
  store i32 -1, ptr @avoided
  ; The processors of the main thread: this one may be bound to a few, and workers inherit that.
  %asked = call i32 @sched_getaffinity(i32 %pid, i64 128, ptr @processors)
  %told = icmp eq i32 %asked, 0
  store i1 %told, ptr @steerable
  ; Python's signals are for Python's threads. Faults stay with who commits them.
  %e0 = call i32 @sigfillset(ptr %signals)
  %e1 = call i32 @sigdelset(ptr %signals, i32 4)    ; SIGILL
  %e2 = call i32 @sigdelset(ptr %signals, i32 5)    ; SIGTRAP
  %e3 = call i32 @sigdelset(ptr %signals, i32 6)    ; SIGABRT
  %e4 = call i32 @sigdelset(ptr %signals, i32 7)    ; SIGBUS
  %e5 = call i32 @sigdelset(ptr %signals, i32 8)    ; SIGFPE
  %e6 = call i32 @sigdelset(ptr %signals, i32 11)   ; SIGSEGV
  %e7 = call i32 @pthread_sigmask(i32 2, ptr %signals, ptr %kept)
  ; Kernels take some of the stack; C libraries and limits differ in what they give new threads.
  %e8 = call i32 @pthread_attr_init(ptr %attributes)
  %e9 = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 8388608)
  br label %each
each:
  %i = phi i64 [0, %entry], [%i1, %created], [%i1, %spread]
  %more = icmp slt i64 %i, %wanted
  br i1 %more, label %create, label %done
create:
  %i1 = add i64 %i, 1
  %slot = getelementptr i64, ptr @threads, i64 %i
  %number = inttoptr i64 %i1 to ptr
  %error = call i32 @pthread_create(ptr %slot, ptr %attributes, ptr @worker, ptr %number)
  %good = icmp eq i32 %error, 0
  br i1 %good, label %created, label %done
created:
  %thread = load i64, ptr %slot
  br i1 %told, label %spread, label %each
spread:
  %e10 = call i32 @pthread_setaffinity_np(i64 %thread, i64 128, ptr @processors)
  br label %each
done:
  store i64 %i, ptr @workers
  store i64 %i, ptr @calque_pool_wanted
  %e11 = call i32 @pthread_attr_destroy(ptr %attributes)
  %e12 = call i32 @pthread_sigmask(i32 2, ptr %kept, ptr null)
  ret void
}

; Calls function(argument, i, tid) for all 0 <= i < count, in any order and in parallel, and
; returns when all are done. tid is below `threads` (unsigned).
define void @calque_parallel_for(ptr %function, ptr %argument, i64 %count, i64 %threads) {
entry:
  %wanted = load atomic i64, ptr @calque_pool_wanted monotonic, align 8
  %any = icmp sgt i64 %wanted, 0
  %many = icmp sgt i64 %count, 1
  %parallel = and i1 %any, %many
  br i1 %parallel, label %lock, label %inline
lock:
  %swap = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %swap, 1
  br i1 %mine, label %ready, label %inline
ready:
  %running = load i64, ptr @workers
  %cold = icmp eq i64 %running, 0
  br i1 %cold, label %warm_up, label %publish
warm_up:
  call void @start()
  br label %publish

; With no worker at all this still works: the caller takes every task.
publish:
  store ptr %function, ptr @job_function
  store ptr %argument, ptr @job_argument
  store i64 %count, ptr @job_count
  store i64 %threads, ptr @job_threads
  call void @llvm.x86.sse.stmxcsr(ptr @job_mode)
  store i64 0, ptr @next
  %word = load atomic i64, ptr @state monotonic, align 8
  %generation = lshr i64 %word, 32
  %generation1 = add i64 %generation, 1
  %upper = shl i64 %generation1, 32
  %opened = or i64 %upper, 2147483648
  %previous = atomicrmw xchg ptr @state, i64 %opened seq_cst
  %parked = load atomic i32, ptr @parked seq_cst, align 4
  %sleeping = icmp sgt i32 %parked, 0
  br i1 %sleeping, label %call_them, label %take_part
call_them:
  call void @steer()
  ; No more than there are tasks for.
  %helpers = sub i64 %count, 1
  %few = icmp slt i64 %helpers, 1024
  %bounded = select i1 %few, i64 %helpers, i64 1024
  %number = trunc i64 %bounded to i32
  call void @wake(i32 %number)
  br label %take_part
take_part:
  call void @work(i64 0)
  %closed = atomicrmw and ptr @state, i64 -2147483649 acq_rel
  br label %leave

; Who is still inside has a task to finish. Where that thread has lost its processor, perhaps to
; this one, spinning does not help it.
leave:
  %spins = phi i64 [0, %take_part], [%spins1, %spin], [%spins1, %yield]
  %now = load atomic i64, ptr @state acquire, align 8
  %inside = and i64 %now, 2147483647
  %empty = icmp eq i64 %inside, 0
  br i1 %empty, label %unlock, label %spin
spin:
  call void @llvm.x86.sse2.pause()
  %spins1 = add i64 %spins, 1
  %long = icmp sgt i64 %spins1, 4000
  br i1 %long, label %yield, label %leave
yield:
  %yielded = call i32 @sched_yield()
  br label %leave
unlock:
  store atomic i32 0, ptr @busy release, align 4
  br label %done

inline:
  %i = phi i64 [0, %entry], [0, %lock], [%i1, %task]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %task, label %done
task:
  call void %function(ptr %argument, i64 %i, i64 0)
  %i1 = add i64 %i, 1
  br label %inline
done:
  ret void
}

; Waits for the job at hand, ends all workers, and makes the next job start `wanted` ones.
define void @calque_pool_resize(i64 %wanted) {
entry:
  br label %lock
lock:
  %swap = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %swap, 1
  br i1 %mine, label %end, label %yield
yield:
  %yielded = call i32 @sched_yield()
  br label %lock
end:
  %workers = load i64, ptr @workers
  %pid = call i32 @getpid()
  %owner = load i32, ptr @owner
  ; In a child of fork there is nobody to join.
  %own = icmp eq i32 %pid, %owner
  %joinable = select i1 %own, i64 %workers, i64 0
  store atomic i32 1, ptr @stop seq_cst, align 4
  %word = atomicrmw add ptr @state, i64 4294967296 seq_cst
  call void @wake(i32 2147483647)
  br label %each
each:
  %i = phi i64 [0, %end], [%i1, %join]
  %more = icmp slt i64 %i, %joinable
  br i1 %more, label %join, label %done
join:
  %slot = getelementptr i64, ptr @threads, i64 %i
  %thread = load i64, ptr %slot
  %error = call i32 @pthread_join(i64 %thread, ptr null)
  %i1 = add i64 %i, 1
  br label %each
done:
  store i64 0, ptr @workers
  store atomic i64 %wanted, ptr @calque_pool_wanted monotonic, align 8
  store atomic i32 0, ptr @busy release, align 4
  ret void
}

; The child's side of a fork: only the thread that forked exists, whatever another one was doing.
define void @calque_pool_forget() {
  store i64 0, ptr @workers
  store i64 0, ptr @state
  store i32 0, ptr @parked
  store atomic i32 0, ptr @busy seq_cst, align 4
  ret void
}
