// Infinities and NaN keep their bits, and upstream reads the same ones.
// RUN: calque opt %s | filecheck %s
// RUN: calque opt %s | mlir-opt-22 | filecheck %s
// RUN: calque opt %s | mlir-opt-22 | calque opt - | filecheck %s
// RUN: calque opt %s -p 'outline-linalg,bufferize,plan-memory,tile{vector-bits=256}' | filecheck %s --check-prefix=KERNEL

#map = affine_map<(d0) -> (d0)>

func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {
  %low = arith.constant 0xFF800000 : f32
  %bounds = arith.constant dense<[0x7F800000, 0x7FC00000]> : tensor<2xf32>
  %half = arith.constant dense<0xFC00> : tensor<2xf16>
  %brain = arith.constant dense<0xFF80> : tensor<2xbf16>
  %double = arith.constant dense<0x7FF0000000000000> : tensor<2xf64>
  %empty = tensor.empty() : tensor<8xf32>
  %0 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%x : tensor<8xf32>) outs(%empty : tensor<8xf32>) {
  ^bb0(%in: f32, %out: f32):
    %1 = arith.maximumf %in, %low : f32
    linalg.yield %1 : f32
  } -> tensor<8xf32>
  func.return %0 : tensor<8xf32>
}

// CHECK:      arith.constant {{0xFF800000|0xff800000}} : f32
// CHECK-NEXT: arith.constant dense<[{{0x7F800000, 0x7FC00000|0x7f800000, 0x7fc00000}}]> : tensor<2xf32>
// CHECK-NEXT: arith.constant dense<{{0xFC00|0xfc00}}> : tensor<2xf16>
// CHECK-NEXT: arith.constant dense<{{0xFF80|0xff80}}> : tensor<2xbf16>
// CHECK-NEXT: arith.constant dense<{{0x7FF0000000000000|0x7ff0000000000000}}> : tensor<2xf64>

// KERNEL: arith.constant dense<0xff800000> : vector<8xf32>
