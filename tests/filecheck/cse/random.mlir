// Random bits depend on key and counter alone: one draw may serve twice, another counter may not.
// RUN: calque opt %s -p 'cse' | filecheck %s

func.func @main(%k: tensor<i64>, %n: tensor<i64>) -> (tensor<8xi32>, tensor<8xi32>, tensor<8xi32>) {
  %0 = calque.random_bits %k, %n {shape = [8]} : (tensor<i64>, tensor<i64>) -> tensor<8xi32>
  %1 = calque.random_bits %k, %n {shape = [8]} : (tensor<i64>, tensor<i64>) -> tensor<8xi32>
  %2 = calque.random_bits %n, %k {shape = [8]} : (tensor<i64>, tensor<i64>) -> tensor<8xi32>
  func.return %0, %1, %2 : tensor<8xi32>, tensor<8xi32>, tensor<8xi32>
}

// CHECK:         %0 = calque.random_bits %k, %n
// CHECK-NEXT:    %1 = calque.random_bits %n, %k
// CHECK-NEXT:    func.return %0, %0, %1
