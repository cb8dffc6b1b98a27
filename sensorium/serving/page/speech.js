// Answers are read aloud by the browser itself; nothing is sent anywhere.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-say]");
  if (!button || !window.speechSynthesis) return;
  const speaking = window.speechSynthesis.speaking;
  window.speechSynthesis.cancel();
  if (!speaking) window.speechSynthesis.speak(new SpeechSynthesisUtterance(button.dataset.say));
});
if (!window.speechSynthesis) document.documentElement.classList.add("mute");
