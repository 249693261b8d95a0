// Text that computes in main: each operation gets a kernel. What it needs to start from (fills,
// empty tensors, constants) is made in the kernel, sizes are arguments, and results say theirs.
// RUN: calque opt %s -p 'outline-linalg' | filecheck %s
// RUN: calque opt %s -p 'outline-linalg' | mlir-opt-22

func.func @main(%x: tensor<?x?xf32>, %w: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %z = arith.constant 0.0 : f32
  %ninf = arith.constant 0xFF800000 : f32
  %m = tensor.dim %x, %c0 : tensor<?x?xf32>
  %n = tensor.dim %w, %c1 : tensor<?x?xf32>
  %e0 = tensor.empty(%m, %n) : tensor<?x?xf32>
  %f0 = linalg.fill ins(%z : f32) outs(%e0 : tensor<?x?xf32>) -> tensor<?x?xf32>
  %mm = linalg.matmul ins(%x, %w : tensor<?x?xf32>, tensor<?x?xf32>) outs(%f0 : tensor<?x?xf32>) -> tensor<?x?xf32>
  %er = tensor.empty(%m) : tensor<?xf32>
  %fm = linalg.fill ins(%ninf : f32) outs(%er : tensor<?xf32>) -> tensor<?xf32>
  %mx = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]} ins(%mm : tensor<?x?xf32>) outs(%fm : tensor<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %1 = arith.maximumf %a, %b : f32
    linalg.yield %1 : f32
  } -> tensor<?xf32>
  %ex = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} ins(%mm, %mx : tensor<?x?xf32>, tensor<?xf32>) outs(%e0 : tensor<?x?xf32>) {
  ^bb0(%a: f32, %b: f32, %q: f32):
    %1 = arith.subf %a, %b : f32
    %2 = math.exp %1 : f32
    linalg.yield %2 : f32
  } -> tensor<?x?xf32>
  %p = tensor.pad %ex low[1, 0] high[0, 2] {
  ^bb0(%a: index, %b: index):
    tensor.yield %z : f32
  } : tensor<?x?xf32> to tensor<?x?xf32>
  return %p : tensor<?x?xf32>
}

// CHECK:       func.func @main(%x: tensor<?x?xf32>, %w: tensor<?x?xf32>) -> (tensor<?x?xf32> {calque.dims = ["arg0_0 + 1", "arg1_1 + 2"]}) {
// CHECK:         %m = tensor.dim %x
// CHECK-NEXT:    %n = tensor.dim %w
// CHECK-NEXT:    %mm = func.call @o0_linalg_matmul(%x, %w, %m, %n) : (tensor<?x?xf32>, tensor<?x?xf32>, index, index) -> tensor<?x?xf32>
// CHECK-NEXT:    %mx = func.call @o1_linalg_generic(%mm, %m)
// CHECK-NEXT:    %ex = func.call @o2_linalg_generic(%mm, %mx, %m, %n)
// CHECK-NEXT:    %p = func.call @o3_tensor_pad(%ex)
// CHECK-NEXT:    func.return %p
// CHECK:       func.func private @o0_linalg_matmul({{.*}} -> (tensor<?x?xf32> {calque.dims = ["arg0_0", "arg1_1"]}) attributes {calque.hero = "matmul", calque.source = ["linalg.matmul"]} {
// CHECK-NEXT:    %z = arith.constant 0.000000e+00 : f32
// CHECK-NEXT:    %e0 = tensor.empty(%m, %n) : tensor<?x?xf32>
// CHECK-NEXT:    %f0 = linalg.fill
// CHECK-NEXT:    %mm = linalg.matmul
// CHECK:       @o1_linalg_generic({{.*}} attributes {calque.hero = "rowwise"
// CHECK:       @o2_linalg_generic({{.*}} attributes {calque.hero = "elementwise"
// CHECK:       @o3_tensor_pad
