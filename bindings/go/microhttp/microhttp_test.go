package microhttp_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/microhttp"
	"github.com/micro/micro/bindings/go/microtest"
	"github.com/micro/micro/bindings/go/server"
)

type person struct {
	Name string `json:"name"`
}

func serving(t *testing.T) client.Client {
	t.Helper()
	fleet := microtest.New(t)
	service := fleet.Service("greeter", micro.Server(server.Quiet(true)))
	err := micro.Handle(service, "Greeter.Hello", func(ctx context.Context, who person) (string, error) {
		switch who.Name {
		case "":
			return "", errors.NotFound("greeter", "nobody")
		case "slow":
			<-ctx.Done()
			return "", ctx.Err()
		}
		came, _ := metadata.FromIncoming(ctx)
		server.SetHeader(ctx, "test-head", "1")
		server.SetTrailer(ctx, "test-tail", "2")
		return "Hello, " + who.Name + " of " + came.Get("tenant") + came.Get("x-hop") + "!", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	fleet.Start(service)
	return fleet.Client()
}

func post(t *testing.T, by *http.Client, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("Tenant", "blue")
	req.Header.Set("Connection", "X-Hop")
	req.Header.Set("X-Hop", "no")
	rsp, err := by.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	read, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp, string(read)
}

// each runs a test through the Transport, and through a Handler behind a server of net/http.
func each(t *testing.T, test func(t *testing.T, by *http.Client, prefix string)) {
	t.Run("transport", func(t *testing.T) {
		test(t, &http.Client{Transport: &microhttp.Transport{Client: serving(t), MaxBytes: 100}}, "http://")
	})
	t.Run("handler", func(t *testing.T) {
		server := httptest.NewServer(&microhttp.Handler{Client: serving(t), MaxBytes: 100})
		defer server.Close()
		test(t, server.Client(), server.URL+"/")
	})
}

func TestAServiceIsCalledByItsNameInTheURL(t *testing.T) {
	each(t, func(t *testing.T, by *http.Client, prefix string) {
		rsp, body := post(t, by, prefix+"greeter/Greeter.Hello", `{"name":"Ada"}`)
		if rsp.StatusCode != 200 || body != `"Hello, Ada of blue!"` {
			t.Errorf("%d %s", rsp.StatusCode, body)
		}
		if rsp.Header.Get("Test-Head") != "1" || rsp.Trailer.Get("Test-Tail") != "2" {
			t.Errorf("%v %v", rsp.Header, rsp.Trailer)
		}
		if rsp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v", rsp.Header)
		}
	})
}

func TestFailuresAreResponses(t *testing.T) {
	each(t, func(t *testing.T, by *http.Client, prefix string) {
		for _, one := range []struct {
			path, body string
			status     int
			says       string
		}{
			{"greeter/Greeter.Hello", `{}`, 404, `"message":"nobody"`},
			{"greeter/Greeter.Hello", `{"name":1}`, 400, "invalid_argument"},
			{"greeter/Greeter.Bye", `{}`, 501, "unimplemented"},
			{"nobody/Greeter.Hello", `{}`, 503, "unavailable"},
			{"greeter/Greeter.Hello", `"` + strings.Repeat("x", 100) + `"`, 413, "more than 100 bytes"},
		} {
			rsp, body := post(t, by, prefix+one.path, one.body)
			if rsp.StatusCode != one.status || !strings.Contains(body, one.says) {
				t.Errorf("%s: %d %s", one.path, rsp.StatusCode, body)
			}
		}
		rsp, err := by.Get(prefix + "greeter/Greeter.Hello")
		if err != nil || rsp.StatusCode != 405 {
			t.Errorf("%v %v", rsp, err)
		} else {
			rsp.Body.Close()
		}
	})
}

func TestTheContextOfARequestEndsItsCall(t *testing.T) {
	by := &http.Client{Transport: &microhttp.Transport{Client: serving(t)}, Timeout: 100 * time.Millisecond}
	rsp, err := by.Post("http://greeter/Greeter.Hello", "application/json", strings.NewReader(`{"name":"slow"}`))
	if err == nil {
		rsp.Body.Close()
		t.Errorf("it said %d", rsp.StatusCode)
	}
}
