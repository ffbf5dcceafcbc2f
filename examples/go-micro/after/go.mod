module greeter

go 1.24

require (
	github.com/golang/protobuf v1.5.4
	github.com/micro/micro/bindings/go v0.0.0
	google.golang.org/protobuf v1.36.12
)

replace github.com/micro/micro/bindings/go => ../../../bindings/go
