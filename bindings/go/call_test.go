package micro_test

import (
	"context"
	"testing"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/microtest"
)

type person struct {
	Name string `json:"name"`
}

type greeting struct {
	Text string `json:"text"`
}

func hello(_ context.Context, who person) (greeting, error) {
	return greeting{"Hello, " + who.Name + "!"}, nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAServiceIsCalledByName(t *testing.T) {
	fleet := microtest.New(t)
	service := fleet.Service("greeter")
	must(t, micro.Handle(service, "Greeter.Hello", hello))
	fleet.Start(service)
	reply, err := micro.Call[greeting](t.Context(), fleet.Client(), "greeter", "Greeter.Hello", person{"Ada"})
	must(t, err)
	if reply.Text != "Hello, Ada!" {
		t.Errorf("it said %q", reply.Text)
	}
}
