module examples

go 1.24

require github.com/micro/micro/bindings/go v0.0.0

require google.golang.org/protobuf v1.36.12 // indirect

replace github.com/micro/micro/bindings/go => ../bindings/go
