// The Go baseline: net/http, encoding/json, a logistic regression written out, and a map of the answers given before.
//
// `baseline MODEL` prints its port and answers `POST /predict`; MODEL is JSON with `coefficients` and `intercepts`.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

type model struct {
	Coefficients [3][4]float64 `json:"coefficients"`
	Intercepts   [3]float64    `json:"intercepts"`
}

type asked struct {
	ModelName string     `json:"model_name"`
	Features  [4]float64 `json:"features"`
}

type answer struct {
	Prediction  int     `json:"prediction"`
	Probability float64 `json:"probability"`
	LatencyMs   float64 `json:"latency_ms"`
	CacheHit    bool    `json:"cache_hit"`
}

func (model *model) predict(features [4]float64) answer {
	var scores [3]float64
	best, total := 0, 0.0
	for class := range scores {
		scores[class] = model.Intercepts[class]
		for column, feature := range features {
			scores[class] += model.Coefficients[class][column] * feature
		}
		if scores[class] > scores[best] {
			best = class
		}
	}
	for _, score := range scores {
		total += math.Exp(score - scores[best])
	}
	return answer{Prediction: best, Probability: 1 / total}
}

type server struct {
	model model
	lock  sync.RWMutex
	known map[[4]float64]answer
}

func (server *server) recall(features [4]float64) (answer, bool) {
	server.lock.RLock()
	defer server.lock.RUnlock()
	known, found := server.known[features]
	return known, found
}

func (server *server) remember(features [4]float64, answer answer) {
	server.lock.Lock()
	defer server.lock.Unlock()
	if len(server.known) < 1_000_000 {
		server.known[features] = answer
	}
}

func (server *server) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	started := time.Now()
	var asked asked
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil || asked.ModelName != "iris" {
		http.Error(writer, "bad request", http.StatusBadRequest)
		return
	}
	answer, found := server.recall(asked.Features)
	if !found {
		answer = server.model.predict(asked.Features)
		server.remember(asked.Features, answer)
	}
	answer.CacheHit = found
	answer.LatencyMs = float64(time.Since(started).Nanoseconds()) / 1e6
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	writer.Write(body)
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := &server{known: map[[4]float64]answer{}}
	if err := json.Unmarshal(text, &server.model); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	mux := http.NewServeMux()
	mux.Handle("/predict", server)
	log.Fatal(http.Serve(listener, mux))
}
