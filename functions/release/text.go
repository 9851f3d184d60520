package main

import (
	"strings"
	"unicode"
)

const (
	// maxMessage is the length of a job's failure message in characters. CodePipeline takes 5,000, but shows them in a small box:
	// https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_FailureDetails.html
	maxMessage = 1000

	// maxDetail bounds each text that ECS contributes.
	maxDetail = 200

	// maxSubject is the length of a notification's subject: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
	maxSubject = 100
)

// oneLine makes text from anywhere fit for a message: one line, no control characters, valid UTF-8.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, text)
}

// cut shortens text to at most limit characters and marks where.
func cut(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}

// short is how a value of unknown length and content is shown.
func short(text string) string { return cut(oneLine(text), maxDetail) }

// subject is text as SNS takes it: printable ASCII, at most maxSubject characters.
func subject(text string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, oneLine(text))
	return ascii[:min(len(ascii), maxSubject)]
}

// lastPart is the id at the end of an ARN.
func lastPart(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }
